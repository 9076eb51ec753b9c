"""`rlpost ledger verify` on runs over fake parts: finished, under way, resumed, and spoilt by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeLearner, FakeParts
from small_run import pipeline_of, recipe_document
from typer.testing import CliRunner

from rlpost.cli.main import app
from rlpost.pipeline import ledger_check
from rlpost.pipeline.ledger_check import check_ledgers
from rlpost.pipeline.selection import Selection
from rlpost.recipe.load import load_recipe, write_resolved
from rlpost.rollout.ledger_journal import read_journal
from rlpost.settings import LearnerSettings


def execute(document: dict[str, Any], parts: FakeParts | None = None) -> Path:
    """As much of `rlpost run` as a ledger needs; returns the run's folder."""
    output = Path(document["output"])
    recipe = output.with_suffix(".yaml")
    recipe.write_text(json.dumps(document))
    pipeline = pipeline_of(document, FakeParts() if parts is None else parts)
    write_resolved(load_recipe(recipe, overrides=[]), output)
    pipeline.execute(Selection.of(pipeline.recipe, first=None, last=None))
    return output


def document_of(folder: Path, **changes: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    document = recipe_document(folder)
    document["stages"] = [document["stages"][2] | changes]
    del document["evaluate"]
    return document


def cut_off(folder: Path, *, at: str = "export", **changes: Any) -> Path:
    """A run that was killed: by default when its last step was trained, its newest checkpoint counts one less."""
    document = document_of(folder, **changes)
    with pytest.raises(RuntimeError):
        execute(document, FakeParts(raises={0: {at: RuntimeError("killed")}}))
    return Path(document["output"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`finished` and `under_way`, to be copied."""
    folder = tmp_path_factory.mktemp("runs")
    execute(document_of(folder / "finished"))
    cut_off(folder / "under_way")
    return folder


def verify(run: Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["ledger", "verify", str(run)])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result.exit_code, result.stdout, result.stderr


def copied(runs: Path, name: str, tmp_path: Path) -> tuple[Path, Path]:
    """A run of one's own, and its stage's folder."""
    run = Path(shutil.copytree(runs / name / "run", tmp_path / "run"))
    return run, run / "stages" / ("01-grpo" if name == "finished" else "01-grpo.partial")


def rewrite(stage: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    path = stage / "ledger.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    change(records)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_a_finished_run_is_told_in_a_line_a_stage(runs: Path) -> None:
    exit_code, said, error = verify(runs / "finished" / "run")
    assert (exit_code, error) == (0, "")
    assert said == "01-grpo: finished; 4 steps, 16 prompts trained with 48 samples, 0 dropped, 0 open\n"


def test_a_run_under_way_is_compared_with_its_newest_checkpoint(runs: Path) -> None:
    exit_code, said, error = verify(runs / "under_way" / "run")
    assert (exit_code, error) == (0, "")
    assert said.startswith("01-grpo: under way; 4 steps, 16 prompts trained with 48 samples")
    assert said.endswith("compared with checkpoint step-00000003\n")


def test_a_run_that_breaks_in_its_first_step_has_that_step_and_no_end(tmp_path: Path) -> None:
    exit_code, said, _ = verify(cut_off(tmp_path / "broken", at="save_checkpoint"))
    assert exit_code == 0
    assert said == (
        "01-grpo: under way; 1 step, 4 prompts trained with 12 samples, 0 dropped, 0 open; compared with no checkpoint "
        "yet\n"
    )


@pytest.mark.parametrize("staleness", [0, 2])
def test_a_resumed_run_has_dropped_ones_counted_and_verifies(tmp_path: Path, staleness: int) -> None:
    changes = {"max_staleness": staleness, "dynamic_sampling": {"max_refill": 2.0}, "steps": 6}
    run = cut_off(tmp_path / "broken", **changes)
    assert verify(run)[0] == 0
    execute(document_of(tmp_path / "broken", **changes))
    exit_code, said, _ = verify(run)
    assert exit_code == 0
    [check] = check_ledgers(run)
    assert check.audit is not None
    dropped = check.audit.dropped["no signal"]
    assert dropped > 0 and f"{dropped} dropped (no signal {dropped}), 0 open" in said
    if staleness == 0:
        straight = execute(document_of(tmp_path / "straight", **changes))
        ledgers = [folder / "stages" / "01-grpo" / "ledger.jsonl" for folder in (run, straight)]
        assert ledgers[0].read_text() == ledgers[1].read_text()


def test_a_prompt_trained_twice_is_told_with_its_place_and_exit_code_1(runs: Path, tmp_path: Path) -> None:
    run, stage = copied(runs, "finished", tmp_path)

    def train_again(records: list[dict[str, Any]]) -> None:
        records[2]["trained"][0] = records[1]["trained"][0]

    rewrite(stage, train_again)
    exit_code, said, error = verify(run)
    assert exit_code == 1
    assert said.startswith("01-grpo: finished; 4 steps")
    assert "a ledger must account for every prompt, once; found:" in error
    once = "step 2: a prompt is trained or dropped once; found prompt 4 trained in step 1, and trained in step 2"
    assert f"  01-grpo: {once}" in error
    assert "found lost: 8" in error
    assert "`rlpost run --from grpo` trains the stage again" in error


def test_a_long_list_of_findings_is_cut(runs: Path, tmp_path: Path) -> None:
    run, stage = copied(runs, "finished", tmp_path)
    rewrite(stage, lambda records: [record.update(trained=record["trained"] * 3) for record in records])
    exit_code, _, error = verify(run)
    assert exit_code == 1
    assert error.count("01-grpo: step") == 20 and "01-grpo: and 16 more" in error


def test_a_line_that_is_being_written_is_no_violation(runs: Path, tmp_path: Path) -> None:
    run, stage = copied(runs, "under_way", tmp_path)
    rewrite(stage, lambda records: records.__delitem__(slice(3, None)))
    with (stage / "ledger.jsonl").open("a") as file:
        file.write('{"step": 3, "trai')
    assert verify(run)[0] == 0
    stage.rename(stage.with_suffix(""))
    assert "a finished stage has whole lines; found one that is cut off" in verify(run)[2]


def test_lines_that_a_checkpoint_counts_must_be_there(runs: Path, tmp_path: Path) -> None:
    run, stage = copied(runs, "under_way", tmp_path)
    rewrite(stage, lambda records: records.__delitem__(slice(2, None)))
    exit_code, _, error = verify(run)
    assert exit_code == 1
    assert (
        "the checkpoint of step 3: it and the lines before it say the same; found steps: 3 in it, 2 in the lines"
        in error
    )
    (stage / "ledger.jsonl").unlink()
    assert "the stage's folder: it holds ledger.jsonl; found none" in verify(run)[2]


def test_a_damaged_checkpoint_is_passed_over_as_a_resume_does(runs: Path, tmp_path: Path) -> None:
    run, stage = copied(runs, "under_way", tmp_path)
    # What a resume from step 2 leaves before it comes to the damaged one again.
    (stage / "checkpoints" / "step-00000003" / "state.json").write_text("[]")
    rewrite(stage, lambda records: records.__delitem__(slice(2, None)))
    exit_code, said, _ = verify(run)
    assert exit_code == 0
    assert said.endswith("2 steps, 8 prompts trained with 24 samples, 0 dropped, 0 open; compared with checkpoint "
                         "step-00000002\n")  # fmt: skip


def test_a_stage_that_is_published_while_it_is_read_is_read_again(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, stage = copied(runs, "under_way", tmp_path)

    def publish_first(path: Path) -> Any:
        if stage.is_dir():
            stage.rename(stage.with_suffix(""))
        return read_journal(path)

    monkeypatch.setattr(ledger_check, "read_journal", publish_first)
    [check] = check_ledgers(run)
    assert check.is_finished and check.audit is not None and check.audit.findings == []


def test_it_holds_at_every_moment_of_a_run(tmp_path: Path) -> None:
    document = document_of(tmp_path, max_staleness=2, dynamic_sampling={"max_refill": 2.0})
    seen: list[tuple[str, int, str | None]] = []

    class LookingLearner(FakeLearner):
        def _called(self, method: str) -> None:
            super()._called(method)
            [check] = check_ledgers(Path(document["output"]))
            assert check.audit is not None and check.audit.findings == []
            seen.append((method, check.audit.steps, check.checkpoint))

    class LookingParts(FakeParts):
        def build_learner(self, settings: LearnerSettings) -> FakeLearner:
            return LookingLearner()

    execute(document, LookingParts())
    compared = {checkpoint for _, _, checkpoint in seen}
    assert {None, "step-00000003"} <= compared, "checkpoints are published beside the steps"
    assert ("export", 4, "step-00000003") in seen


def test_what_has_not_begun_or_is_no_run_is_told(runs: Path, tmp_path: Path) -> None:
    run, stage = copied(runs, "finished", tmp_path)
    shutil.rmtree(stage)
    assert verify(run)[:2] == (0, "01-grpo: has not begun\n")
    exit_code, _, error = verify(tmp_path)
    assert exit_code == 2 and "a run's folder holds recipe.resolved.json" in error
    (tmp_path / "recipe.resolved.json").write_text('{"recipe": []}')
    exit_code, _, error = verify(tmp_path)
    assert exit_code == 2 and "it cannot be read (TypeError)" in error
    (tmp_path / "recipe.resolved.json").write_text('{"recipe": {"stages": [{"kind": "sft"}]}}')
    assert verify(tmp_path)[:2] == (0, f"{tmp_path}: the recipe has no RL stage\n")
