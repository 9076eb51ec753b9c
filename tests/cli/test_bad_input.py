"""Wrong input through the real command: one message that a person can act on, exit code 2, and nothing begun."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_run import OPTIMIZER, recipe_document, sums, write_rows
from typer.testing import CliRunner

from rlpost.cli.main import app
from rlpost.pipeline.artifacts import read_manifest

LONG = "a long question " * 10
Document = dict[str, Any]


class Ended:
    """How a command ended."""

    def __init__(self, exit_code: int, output: str, error: str) -> None:
        self.exit_code, self.output, self.error = exit_code, output, error


def write_recipe(folder: Path, document: Document) -> Path:
    # JSON is YAML.
    (folder / "recipe.yaml").write_text(json.dumps(document))
    return folder / "recipe.yaml"


def run_in_process(recipe: Path, *options: str) -> Ended:
    result = CliRunner().invoke(app, ["run", str(recipe), *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return Ended(result.exit_code, result.stdout, result.stderr)


def run_command(recipe: Path, *options: str, largest_file_kib: int | None = None, **environment: str) -> Ended:
    def limit() -> None:
        if largest_file_kib is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_kib << 10, largest_file_kib << 10))

    done = subprocess.run(
        [sys.executable, "-m", "rlpost", "run", str(recipe), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | environment,
        preexec_fn=limit,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def ray_processes() -> set[int]:
    found: set[int] = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found |= {int(folder.name)} if b"raylet" in (folder / "cmdline").read_bytes() else set()
            except OSError:  # It has ended since.
                continue
    return found


def assert_refused(ended: Ended, *words: str) -> None:
    assert ended.exit_code == 2, ended.output + ended.error
    assert "Traceback" not in ended.error
    for word in words:
        assert word in ended.error
    assert len(ended.error.strip().splitlines()) <= 5, ended.error


def assert_nothing_half_written(output: Path) -> None:
    for folder in (output / "stages").glob("*"):
        if not folder.name.endswith(".partial"):
            assert folder.name == "00-base" and read_manifest(folder) is not None


def put(*path: str | int, value: Any) -> Callable[[Document, Path], None]:
    def change(document: Document, folder: Path) -> None:
        place: Any = document
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return change


def file_of(name: str, rows: list[dict[str, Any]]) -> Callable[[Document, Path], None]:
    return lambda document, folder: (write_rows(folder / name, rows), None)[1]


def template_without_a_mask(document: Document, folder: Path) -> None:
    """What it writes for a prompt alone is not how it begins with the answer, so the prompt cannot be told apart."""
    (folder / "chat.jinja").write_text(
        "{{ messages | length }}{% for message in messages %}{{ message['content'] }}{{ eos_token }}{% endfor %}"
    )
    document["model"]["chat_template"] = str(folder / "chat.jinja")


def folder_that_is_no_model(document: Document, folder: Path) -> None:
    (folder / "not-a-model").mkdir()
    (folder / "not-a-model" / "config.json").write_text('{"model_type": "qwen3"}')
    document["model"] = {"path": str(folder / "not-a-model"), "max_length": 48}


def output_of_another_recipe(document: Document, folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "run.json").write_text('{"recipe": "other"}')


CASES: dict[str, tuple[Callable[[Document, Path], None], tuple[str, ...]]] = {
    "unknown key": (
        put("stages", 0, "row_per_step", value=4),
        ("recipe.yaml:1: stages[sft].row_per_step: unknown key; did you mean `rows_per_step`?",),
    ),
    "wrong type": (put("stages", 0, "steps", value="many"), ("expected a whole number, found the text 'many'",)),
    "missing file": (put("data", "sums", "source", value="jsonl:nowhere.jsonl"), ("nowhere.jsonl does not exist",)),
    "empty data set": (file_of("sums.jsonl", []), ("sums.jsonl has no rows",)),
    "first row without a column": (
        file_of("sums.jsonl", [{"prompt": "1 + 1 =", "gold": "2"}]),
        ("stages[sft].data[0]: needs response or messages", "set data.sums.columns or data.sums.solution"),
    ),
    "later row without a column": (
        file_of("sums.jsonl", [*sums(6), {"prompt": "1 + 1 =", "gold": "2"}]),
        ("line 7 of 'sums' has values in prompt, gold", "set data.sums.columns"),
    ),
    "prompt longer than the context": (
        file_of("sums.jsonl", [*sums(6), {"prompt": LONG, "response": "1", "gold": "1"}]),
        ("must fit in max_length = 48", "the prompt of row sums/6 has", "raise max_length"),
    ),
    "context longer than the model's": (
        put("model", "config", "max_position_embeddings", value=32),
        ("at most the model's context of 32 tokens", "found 48: lower it"),
    ),
    "template without a mask": (
        template_without_a_mask,
        ("must render a conversation so that it begins with the rendered prompt", "set model.chat_template"),
    ),
    "unknown reward": (
        put("rewards", "routes", "*", "verifier", value="text.exakt"),
        ("no verifier is called `text.exakt`: did you mean `text.exact`?",),
    ),
    "output of another recipe": (
        output_of_another_recipe,
        ("holds a run of recipe 'other', and this is 'small': set output to another folder",),
    ),
    "folder that is no model": (folder_that_is_no_model, ("must hold weights as *.safetensors; ", "has none")),
}


@pytest.mark.parametrize("name", CASES)
def test_is_refused_in_words_before_anything_starts(tmp_path: Path, name: str) -> None:
    document, (spoil, words) = recipe_document(tmp_path), CASES[name]
    spoil(document, tmp_path)
    before = ray_processes()
    ended = run_in_process(write_recipe(tmp_path, document))
    assert_refused(ended, *words)
    assert ray_processes() <= before
    assert_nothing_half_written(tmp_path / "run")


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ("learner: {ranks: 2, device: cuda}", ("the roles need 2 GPUs", "has 0", "lower learner.ranks")),
        ("cpus: 1\nlearner: {ranks: 2}", ("has 1 CPUs (cpus) for 2 learner ranks",)),
        (
            "gpus_per_node: 64\nlearner: {ranks: 2, device: cuda}\nrollout: {actors: 62, device: cuda}",
            (
                "this machine must have 64 ",
                "for 2 learner ranks on cuda and 62 rollout actors on cuda",
                "lower learner",
            ),
        ),
        (
            "learner: {ranks: 2}\nrollout: {actors: 5000}",
            ("this machine must have 2501 CPUs for 2 learner ranks on cpu and 5000 rollout actors", "or set cpus"),
        ),
    ],
)
def test_more_ranks_than_devices_are_refused_at_once(tmp_path: Path, cluster: str, words: tuple[str, ...]) -> None:
    (tmp_path / "cluster.yaml").write_text(f"name: wide\n{cluster}\n")
    before, started = ray_processes(), time.monotonic()
    recipe = write_recipe(tmp_path, recipe_document(tmp_path))
    assert_refused(run_in_process(recipe, "--cluster", str(tmp_path / "cluster.yaml")), *words)
    assert time.monotonic() - started < 30
    assert ray_processes() <= before


def test_a_stage_that_does_not_exist_is_refused_before_the_output_is_touched(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, recipe_document(tmp_path))
    assert_refused(run_in_process(recipe, "--from", "ppo"), "--from must name a stage of the recipe (sft, dpo, grpo)")
    assert not (tmp_path / "run").exists()


def test_the_command_itself_ends_with_the_message_and_starts_no_process(tmp_path: Path) -> None:
    document = recipe_document(tmp_path)
    write_rows(tmp_path / "sums.jsonl", [*sums(6), {"prompt": LONG, "response": "1", "gold": "1"}])
    ended = run_command(write_recipe(tmp_path, document))
    assert ended.exit_code == 2
    assert [line for line in ended.error.splitlines() if "must fit in max_length = 48" in line]
    assert "Traceback" not in ended.error
    assert_nothing_half_written(Path(document["output"]))


def test_a_full_disk_is_named_and_the_same_command_goes_on_once_there_is_room(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: a model fits under it, a checkpoint does not."""
    document = recipe_document(tmp_path)
    document |= {"stages": document["stages"][:1], "evaluate": None, "rewards": None}
    document["stages"][0] |= {"optimizer": OPTIMIZER, "learner": {"checkpoint_every": 1}}
    recipe, output = write_recipe(tmp_path, document), tmp_path / "run"
    (tmp_path / "alone.yaml").write_text("name: alone\nlauncher: torchrun\nrollout: {actors: 0}\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    one_rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ended = run_command(recipe, "--cluster", str(tmp_path / "alone.yaml"), largest_file_kib=180, **one_rank)
    assert ended.exit_code == 1, ended.output + ended.error
    (message,) = [line for line in ended.error.splitlines() if "the disk must have room" in line]
    assert "free space, or set output to a folder elsewhere" in message
    assert "Traceback" not in ended.error
    assert sorted(path.name for path in (output / "stages").iterdir()) == ["00-base", "01-sft.partial"]
    assert list((output / "stages" / "01-sft.partial" / "checkpoints").glob("step-*")) == []
    again = run_command(recipe, "--cluster", str(tmp_path / "alone.yaml"), **one_rank)
    assert again.exit_code == 0, again.error
    assert sorted(path.name for path in (output / "stages").iterdir()) == ["00-base", "01-sft"]
    steps = (output / "stages" / "01-sft" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in steps] == [0, 1, 2]
