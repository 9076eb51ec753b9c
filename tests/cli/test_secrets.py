"""A value that a recipe takes from the environment is in no file of the run and in nothing that a command prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeParts, FakeScorer
from small_run import pipeline_for, recipe_document, recipe_of
from typer.testing import CliRunner

from rlpost.cli.main import app
from rlpost.pipeline.selection import Selection
from rlpost.pipeline.summary import show_summary
from rlpost.recipe.environment import hidden
from rlpost.recipe.load import load_recipe, write_resolved
from rlpost.records import Fault, Sample, Verdict
from rlpost.telemetry.console import Console

CANARY = "canary-b7c1e5f2-and-more"
TAKEN = "${env:RLPOST_TEST_CANARY}"
VERIFIER = '''
from rlpost.records import Sample, Verdict
from rlpost.scoring.authoring import Case, verifier


@verifier(name="secret.service", version="1", cases=[Case(response="1", gold="1", expect="accept")])
def service(sample: Sample, *, key: str = "", limit: int = 1) -> Verdict:
    """Judged by a service."""
    return Verdict(score=1.0)
'''
Document = dict[str, Any]


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Document:
    """A recipe that takes a key where keys are taken, and nothing is remembered of other recipes."""
    monkeypatch.setattr("rlpost.recipe.environment._values", {})
    monkeypatch.setattr("rlpost.recipe.environment._open", set())
    monkeypatch.setenv("RLPOST_TEST_CANARY", CANARY)
    (tmp_path / "service.py").write_text(VERIFIER)
    document = recipe_document(tmp_path)
    document["notes"] = {"description": f"with {TAKEN}", "sources": {"token": TAKEN}}
    document["rewards"]["routes"]["*"] = {"verifier": "service.py:service", "params": {"key": TAKEN}}
    document["data"]["sums"]["system"] = f"The password is {TAKEN}."
    document["model"]["max_length"] = 128
    return document


def written(folder: Path, document: Document) -> Path:
    (folder / "recipe.yaml").write_text(json.dumps(document))
    return folder / "recipe.yaml"


def printed_by(*command: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, command)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result.exit_code, result.stdout + result.stderr


def test_no_file_of_a_run_and_no_line_on_the_console_has_it(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def verdict(sample: Sample) -> Verdict:
        if sample.prompt.startswith("3 +"):
            return Verdict(fault=Fault.GOLD, reason=f"the service says that {CANARY} cannot read this")
        return Verdict(score=float(len(sample.response) % 2), reason=f"asked with {CANARY}", tags=(CANARY,))

    loaded = load_recipe(written(tmp_path, document), overrides=[])
    assert loaded.recipe.notes.sources["token"] == CANARY
    parts, console = FakeParts(), Console(hidden)
    parts.scorer = FakeScorer(verdict)
    pipeline = pipeline_for(loaded.recipe, parts, console)
    write_resolved(loaded, pipeline.run.root)
    manifests = pipeline.execute(Selection.of(loaded.recipe, first=None, last=None))
    show_summary(pipeline.run, manifests, console)
    console.say(f"the service at {CANARY} does not answer")

    printed = capsys.readouterr().out
    assert "held-out scores" in printed and f"the service at {TAKEN} does not answer" in printed
    assert CANARY not in printed
    texts = {path: path.read_text(errors="replace") for path in pipeline.run.root.rglob("*") if path.is_file()}
    names = {path.name for path in texts}
    assert names >= {"recipe.resolved.json", "manifest.json", "summary.json", "metrics.jsonl", "samples.jsonl"}
    assert names >= {"evaluation.jsonl", "quarantine.jsonl"}
    assert [str(path) for path, text in texts.items() if CANARY in text] == []
    samples = [text for path, text in texts.items() if path.name == "samples.jsonl"]
    assert all(f"The password is {TAKEN}." in text and f"asked with {TAKEN}" in text for text in samples)


def test_check_of_a_valid_recipe_does_not_print_it(document: Document, tmp_path: Path) -> None:
    exit_code, printed = printed_by("check", str(written(tmp_path, document)))
    assert exit_code == 0, printed
    assert "rewards of everything else" in printed
    assert CANARY not in printed


def put(*path: str | int, value: Any) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        place: Any = document
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("extends", value=TAKEN),
        put("seed", value=TAKEN),
        put("name", value=f"{TAKEN}/x"),
        put("stages", 0, "kind", value=TAKEN),
        put("stages", 0, "data", value=[TAKEN]),
        put("stages", 0, "start", value=TAKEN),
        put("stages", 2, "algorithm", value=TAKEN),
        put("stages", 2, "require", value={"pass@1": TAKEN}),
        put("data", "sums", "source", value=TAKEN),
        put("data", "sums", "source", value=f"jsonl:{TAKEN}"),
        put("data", "sums", "columns", value={"gold": TAKEN}),
        put("data", "sums", "solution", value=f"os:{TAKEN}"),
        put("model", "chat_template", value=f"{TAKEN}.jinja"),
        put("model", "tokenizer", value=f"./{TAKEN}"),
        put("model", value={"path": f"./{TAKEN}", "max_length": 128}),
        put("rewards", "routes", "*", "verifier", value=TAKEN.replace("CANARY", "WORD")),
        put("rewards", "routes", "*", "verifier", value=f"{TAKEN}.py:x"),
        put("rewards", "routes", "*", "params", "limit", value=TAKEN),
    ],
)
def test_a_refusal_names_the_variable_and_not_what_it_holds(
    document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Document], None]
) -> None:
    word = CANARY.replace("-", "")
    monkeypatch.setenv("RLPOST_TEST_WORD", word)
    change(document)
    exit_code, printed = printed_by("check", str(written(tmp_path, document)))
    assert exit_code == 2, printed
    assert CANARY not in printed and word not in printed


@pytest.mark.parametrize(
    "source",
    [
        {"source": "hf:nowhere/here", "params": {"token": TAKEN}},
        {"source": "reasoning_gym:chain_sum", "rows": 12, "params": {"token": TAKEN}},
        {"source": f"reasoning_gym:{TAKEN}", "rows": 12},
    ],
)
def test_an_error_while_data_is_read_does_not_print_it(
    document: Document, tmp_path: Path, source: dict[str, Any]
) -> None:
    document["data"]["held_out"] = source
    exit_code, printed = printed_by("run", str(written(tmp_path, document)))
    assert exit_code == 2, printed
    assert CANARY not in printed
    assert TAKEN in printed or "token" in printed


def test_an_override_on_the_command_line_is_stored_as_it_was_written(document: Document, tmp_path: Path) -> None:
    loaded = load_recipe(written(tmp_path, document), overrides=[f"data.sums.system={TAKEN}"])
    assert loaded.recipe.data["sums"].system == CANARY
    assert loaded.resolved["data"]["sums"]["system"] == TAKEN
    assert recipe_of(loaded.resolved).data["sums"].system == TAKEN
