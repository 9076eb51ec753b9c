"""Stages of the objectives, from the rows of a file to the batches that the learner gets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeLearner, FakeParts
from small_run import OPTIMIZER, pipeline_of, recipe_document, recipe_of, write_rows

from rlpost.errors import DataError
from rlpost.pipeline.selection import Selection
from rlpost.recipe.check import problems
from rlpost.recipe.schema import ClusterConfig
from rlpost.stages.supervised import demonstration_batch
from rlpost.stages.unpaired import mismatch_divergence
from rlpost.train_records import TrainRow


def row(*weights: float, token: int = 5) -> TrainRow:
    return TrainRow(token_ids=np.full(len(weights), token, np.int32), weights_T=np.array(weights, np.float32))


def test_the_three_normalisations_of_cross_entropy() -> None:
    rows = [row(0, 0, 1, 1), row(0, 1)]
    token, sequence, summed = (
        demonstration_batch(rows, normalisation=name) for name in ("token", "sequence", "sequence_sum")
    )
    assert (token.components[0].denominator, sequence.components[0].denominator) == (3.0, 2.0)
    assert summed.components[0].denominator == 2.0
    assert token.weights_T.tolist() == summed.weights_T.tolist() == [0, 0, 1, 1, 0, 1]
    assert sequence.weights_T.tolist() == [0, 0, 0.5, 0.5, 0, 1]


def answers(count: int) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"{number} + 1 =",
            "response": f"{number + 1 + number % 2}",
            "rejected": f"{number + 3}",
            "label": number % 2 == 0,
            "reward": 1.0 - number % 2,
            "reference_rewards": [0.0, 0.0, 1.0, 0.0],
        }
        for number in range(count)
    ]


def document(folder: Path, stage: dict[str, Any], rows: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    made = recipe_document(folder)
    made["data"]["judged"] = {"source": f"jsonl:{write_rows(folder / 'judged.jsonl', rows or answers(12))}"}
    common = {"name": "judged", "data": ["judged"], "rows_per_step": 4, "epochs": 1, "optimizer": OPTIMIZER}
    made["stages"] = [made["stages"][0], {**common, **stage}]
    del made["evaluate"]
    return made


def run(made: dict[str, Any]) -> FakeParts:
    parts = FakeParts()
    pipeline_of(made, parts).execute(Selection.of(recipe_of(made), first=None, last=None))
    return parts


def batches_of(folder: Path, stage: dict[str, Any]) -> list[Any]:
    return run(document(folder, stage)).learners[-1].batches


def test_kto_rows_carry_their_label_and_the_baseline_of_their_step(tmp_path: Path) -> None:
    batches = batches_of(tmp_path, {"kind": "kto"})
    assert len(batches) == 3
    labels = np.concatenate([np.unique(batch.columns["targets_T"]) for batch in batches])
    assert set(labels.tolist()) == {0.0, 1.0}
    for batch in batches:
        assert len(set(batch.columns["baseline_T"].tolist())) == 1
        assert batch.components[0].denominator == 4.0


def test_qrpo_rows_carry_the_quantile_of_their_reward(tmp_path: Path) -> None:
    batches = batches_of(tmp_path, {"kind": "qrpo"})
    assert set(np.concatenate([batch.columns["targets_T"] for batch in batches]).tolist()) == {0.75, 1.0}


@pytest.mark.parametrize(("loss", "has_reference"), [("sigmoid_norm", True), ("ipo", True), ("simpo", False)])
def test_a_loss_without_a_reference_asks_the_learner_for_none(tmp_path: Path, loss: str, has_reference: bool) -> None:
    learner = run(document(tmp_path, {"kind": "dpo", "loss": loss})).learners[-1]
    assert ("logprobs" in learner.calls) == has_reference
    assert all(("reference_logprobs_T" in batch.columns) == has_reference for batch in learner.batches)


def test_answers_of_one_label_are_refused_with_what_to_do(tmp_path: Path) -> None:
    rows = [{**one, "label": True} for one in answers(12)]
    with pytest.raises(DataError, match="needs answers of both labels; all 12 are desirable"):
        run(document(tmp_path, {"kind": "kto"}, rows))


@pytest.mark.parametrize("label", ["yes", 0.5, [True]])
def test_a_label_that_is_neither_true_nor_false_is_named_by_its_row(tmp_path: Path, label: object) -> None:
    rows = answers(12)
    rows[7]["label"] = label
    with pytest.raises(DataError, match=r"must be true \(desirable\) or false; row judged/7 has"):
        run(document(tmp_path, {"kind": "kto"}, rows))


@pytest.mark.parametrize("change", [{"reward": None}, {"reward": "1"}, {"reference_rewards": []}])
def test_rewards_that_are_no_numbers_are_named_by_their_row(tmp_path: Path, change: dict[str, Any]) -> None:
    rows = answers(12)
    rows[3] |= change
    with pytest.raises(DataError, match="row judged/3 "):
        run(document(tmp_path, {"kind": "qrpo"}, rows))


def test_the_baseline_is_the_mean_summed_log_ratio_and_never_below_0() -> None:
    learner = FakeLearner()
    rows = [row(0, 1, 1), row(0, 1, token=7)]
    lower, higher = (
        [
            TrainRow(
                token_ids=one.token_ids,
                weights_T=one.weights_T,
                columns={"reference_logprobs_T": np.full(len(one.token_ids), value, np.float32)},
            )
            for one in rows
        ]
        for value in (-100.0, 100.0)
    )
    found = mismatch_divergence(learner, lower)
    assert found == pytest.approx(100 * 3 / 2, rel=0.2)
    assert mismatch_divergence(learner, higher) == 0.0


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"kind": "dpo", "loss": "hinge", "label_smoothing": 0.1}, "the loss hinge does not read label_smoothing"),
        ({"kind": "dpo", "margin": 1.0}, "the loss sigmoid_norm does not read margin"),
    ],
)
def test_a_key_that_the_loss_does_not_read_is_refused(tmp_path: Path, stage: dict[str, Any], words: str) -> None:
    recipe = recipe_of(document(tmp_path, stage))
    found = problems(recipe, ClusterConfig(name="fake"), verifier_reads={})
    assert [problem.text for problem in found if words in problem.text]


@pytest.mark.parametrize(
    ("loss", "beta", "nll_weight"),
    [("sigmoid_norm", 5.0, 0.0), ("sigmoid", 0.1, 0.0), ("simpo", 2.0, 0.0), ("orpo", 0.1, 1.0)],
)
def test_each_loss_has_the_settings_of_its_paper(tmp_path: Path, loss: str, beta: float, nll_weight: float) -> None:
    (_, stage) = recipe_of(document(tmp_path, {"kind": "dpo", "loss": loss})).stages
    assert (stage.settings_of_loss["beta"], stage.settings_of_loss["nll_weight"]) == (beta, nll_weight)


@pytest.mark.parametrize("kind", ["sft", "kto"])
def test_epochs_count_the_rows_of_a_repeated_data_set(tmp_path: Path, kind: str) -> None:
    sampler = {"kind": "repeated", "times": {"judged": 2.5}}
    rows = [{key: value for key, value in one.items() if key != "rejected"} for one in answers(12)]
    batches = run(document(tmp_path, {"kind": kind, "sampler": sampler}, rows)).learners[-1].batches
    taken = [len(batch.row_lengths_B) for batch in batches]
    assert taken == [4] * 7 + [2]
    sources = Counter(source for batch in batches for source in batch.sources)
    assert sorted(sources.values()) == [2] * 6 + [3] * 6


def test_a_missing_label_column_is_found_by_check(tmp_path: Path) -> None:
    rows = [{key: value for key, value in one.items() if key != "label"} for one in answers(12)]
    recipe = recipe_of(document(tmp_path, {"kind": "kto"}, rows))
    (problem,) = problems(recipe, ClusterConfig(name="fake"), verifier_reads={})
    assert "label" in problem.text


def test_a_stage_may_have_a_shorter_length_of_its_own(tmp_path: Path) -> None:
    rows = [{"prompt": "1 + 1 =", "response": "2" * length} for length in (3, 5, 30, 31)]
    made = document(tmp_path, {"kind": "sft", "rows_per_step": 2, "max_length": 32}, rows)
    lengths = np.concatenate([batch.row_lengths_B for batch in run(made).learners[-1].batches])
    assert len(lengths) == 2
    assert lengths.max() <= 32


def test_a_stages_length_may_not_exceed_the_models(tmp_path: Path) -> None:
    recipe = recipe_of(document(tmp_path, {"kind": "sft", "max_length": 49}))
    (problem,) = problems(recipe, ClusterConfig(name="fake"), verifier_reads={})
    assert problem.path == ("stages", 1, "max_length")
    assert "must be at most model.max_length (48), found 49" in problem.text


@pytest.mark.parametrize("kind", ["sft", "dpo", "grpo"])
def test_rows_with_an_overlong_prompt_are_refused_or_left_out_and_counted(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**one, "gold": "1"} for one in answers(12)]
    rows[5]["prompt"] = "7 " * 60
    stage: dict[str, Any] = {"kind": kind, "rows_per_step": 4}
    if kind == "grpo":
        sizes = {"steps": 1, "prompts_per_step": 2, "samples_per_prompt": 2}
        stage = {"kind": kind, "sampling": {"max_tokens": 6}, **sizes}
    made = document(tmp_path, stage, rows)
    if kind == "grpo":
        made["stages"][1] = {"name": "judged", "data": ["judged"], "optimizer": OPTIMIZER, **stage}
    with pytest.raises(DataError, match=r"the prompt of row judged/5 has .* set the stage's overlong_prompts to drop"):
        run(made)
    made["stages"][1]["overlong_prompts"] = "drop"
    made["output"] = str(tmp_path / "again")
    learner = run(made).learners[-1]
    assert "judged: 1 of 12 rows of judged have a prompt of more than" in capsys.readouterr().out
    assert not any("judged/5" in source for batch in learner.batches for source in batch.sources)


def test_a_stage_that_trains_on_evaluated_rows_alone_is_refused_by_check(tmp_path: Path) -> None:
    made = document(tmp_path, {"kind": "sft"})
    made["evaluate"] = {"data": ["judged"], "sampling": {"max_tokens": 6}}
    rewards = {"rewards": {"routes": {"*": {"verifier": "text.exact"}}}}
    found = problems(recipe_of({**made, **rewards}), ClusterConfig(name="fake"), verifier_reads={})
    assert [problem.path for problem in found] == [("stages", 1, "data")]
    assert "evaluate.data has judged too" in found[0].text
