"""Python that comes with a model runs only where the recipe says so, and then everybody is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeParts
from opened import data_cache
from small_run import pipeline_for, pipeline_of, recipe_document, recipe_of
from tiny_models import save_tiny_model
from typer.testing import CliRunner

from rlpost.assembly import RayParts
from rlpost.cli.main import app
from rlpost.errors import ModelError
from rlpost.pipeline.artifacts import read_manifest
from rlpost.pipeline.base import build_base
from rlpost.pipeline.selection import Selection
from rlpost.recipe.schema import ClusterConfig
from rlpost.telemetry.console import Console

TOLD = "model.trust_remote_code is true: Python files that come with the model and its tokenizer are run"
CODE = """
from pathlib import Path

from transformers import Qwen3Config

Path({ran!r}).write_text("ran")


class OwnConfig(Qwen3Config):
    model_type = "rlpost-test-own"
"""


def document_of(folder: Path, *, trust: bool, **model: Any) -> dict[str, Any]:
    document = recipe_document(folder)
    document["model"] |= {"trust_remote_code": trust, **model}
    return document


@pytest.fixture
def with_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model directory whose Python, when it runs, writes the file `ran`."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    given = save_tiny_model(tmp_path / "given", tied=True, seed=0, hidden_size=32, layers=1, heads=1)
    config = json.loads((given / "config.json").read_text())
    config |= {"model_type": "rlpost-test-own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (given / "config.json").write_text(json.dumps(config))
    (given / "own.py").write_text(CODE.format(ran=str(tmp_path / "ran")))
    return given


@pytest.mark.parametrize("trust", [False, True])
def test_the_code_of_a_model_runs_when_the_recipe_says_so_and_not_otherwise(
    tmp_path: Path, with_code: Path, trust: bool
) -> None:
    document = document_of(tmp_path, trust=trust)
    document["model"] = {"path": str(with_code), "max_length": 48, "trust_remote_code": trust, "dtype": "float32"}
    if trust:
        build_base(recipe_of(document), tmp_path / "base", cache=data_cache())
    else:
        with pytest.raises(ModelError, match="trust_remote_code"):
            build_base(recipe_of(document), tmp_path / "base", cache=data_cache())
    assert (tmp_path / "ran").exists() == trust


def test_chat_runs_no_code_of_a_model_that_no_run_trusted(tmp_path: Path, with_code: Path) -> None:
    answer = CliRunner().invoke(app, ["chat", str(with_code), "--prompt", "1 + 1 ="], input="y\ny\n")
    assert answer.exit_code != 0
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("trust", [False, True])
def test_learners_get_what_the_recipe_says_and_the_run_records_it(tmp_path: Path, trust: bool) -> None:
    document, parts = document_of(tmp_path, trust=trust), FakeParts()
    pipeline_of(document, parts).execute(Selection.of(recipe_of(document), first=None, last=None))
    assert [settings.trust_remote_code for settings in parts.settings] == [trust] * 3
    output = Path(document["output"])
    assert json.loads((output / "summary.json").read_text())["trust_remote_code"] is trust
    manifests = [read_manifest(folder) for folder in sorted((output / "stages").iterdir())]
    assert [manifest.trust_remote_code for manifest in manifests if manifest is not None] == [trust] * 4


@pytest.mark.parametrize("trust", [False, True])
def test_engines_get_what_the_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trust: bool) -> None:
    recipe, parts = recipe_of(document_of(tmp_path, trust=trust)), FakeParts()
    given: dict[str, Any] = {}

    class NotedPool:
        def __init__(self, *_: Any, **options: Any) -> None:
            given.update(options)

        def close(self) -> None:
            given["closed"] = True

    monkeypatch.setattr("rlpost.cluster.generator_pool.GeneratorPool", NotedPool)
    base = pipeline_for(recipe, parts, Console()).run.base.final
    with RayParts(recipe, ClusterConfig(name="one"), Console()) as started:
        assert isinstance(started, RayParts)
        started._start_engines(base / "model", None)  # pyright: ignore - a test needs no cluster
    assert given["engine"].trust_remote_code is trust
    assert given["closed"] is True


@pytest.mark.parametrize("trust", [False, True])
def test_check_says_when_code_of_a_model_will_run(tmp_path: Path, trust: bool) -> None:
    (tmp_path / "recipe.yaml").write_text(json.dumps(document_of(tmp_path, trust=trust)))
    result = CliRunner().invoke(app, ["check", str(tmp_path / "recipe.yaml")])
    assert result.exit_code == 0, result.output
    assert (TOLD in result.stdout.splitlines()) == trust
