"""Direct preference optimisation, on given pairs or on the model's own samples judged by the verifiers (TULU 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rlpost.data.preference import PreferencePair, pairs_from_examples, pairs_from_samples
from rlpost.errors import DataError
from rlpost.interfaces import Learner
from rlpost.losses.preference import PreferenceLoss
from rlpost.recipe.stages import DpoStage, OwnSamplesConfig
from rlpost.records import TrainBatch, TrainRow
from rlpost.stages.context import StageContext
from rlpost.stages.samples import SampleLog
from rlpost.stages.supervised import train_supervised

_REFERENCE_PAIRS_PER_CALL = 512


def run_dpo(context: StageContext, stage: DpoStage) -> None:
    """Make or read the pairs, remember what the start thinks of them, and train away from the rejected ones."""
    pairs = _own_pairs(context, stage, stage.own_samples) if stage.own_samples else _given_pairs(context, stage)
    steps = stage.step_count(len(pairs))
    learner = context.build_learner(total_steps=steps, keep_reference=False)
    # Before any checkpoint is loaded the learner holds the stage's start, which is the reference model.
    pairs = with_reference(pairs, learner)

    def batch_of(indices: Sequence[int]) -> TrainBatch:
        return pair_batch([pairs[index] for index in indices])

    train_supervised(
        context,
        learner,
        row_count=len(pairs),
        rows_per_step=stage.rows_per_step,
        steps=steps,
        batch_of=batch_of,
        loss=PreferenceLoss(beta=stage.beta, length_normalised=stage.loss == "sigmoid_norm"),
    )


def pair_batch(pairs: Sequence[PreferencePair]) -> TrainBatch:
    """Chosen and rejected as neighbours; the loss is a mean over pairs."""
    rows = [row for pair in pairs for row in (pair.chosen, pair.rejected)]
    return TrainBatch.of(rows, denominator=float(len(pairs)), rows_per_unit=2)


def with_reference(pairs: Sequence[PreferencePair], learner: Learner) -> list[PreferencePair]:
    """The pairs with the log-probabilities that the learner gives them now."""
    known: list[PreferencePair] = []
    for start in range(0, len(pairs), _REFERENCE_PAIRS_PER_CALL):
        part = pairs[start : start + _REFERENCE_PAIRS_PER_CALL]
        batch = pair_batch(part)
        values = np.split(learner.logprobs(batch, reference=False), np.cumsum(batch.row_lengths_B)[:-1])
        for place, pair in enumerate(part):
            known.append(
                PreferencePair(
                    chosen=replace(pair.chosen, reference_logprobs_T=values[2 * place]),
                    rejected=replace(pair.rejected, reference_logprobs_T=values[2 * place + 1]),
                )
            )
    return known


def _given_pairs(context: StageContext, stage: DpoStage) -> list[PreferencePair]:
    examples = context.data.examples(stage.data, stage=stage.name, use="dpo")
    made = pairs_from_examples(examples, chat=context.data.format, max_length=context.recipe.model.max_length)
    if made.dropped:
        context.console.say(f"{stage.name}: {made.dropped} pairs longer than model.max_length are left out")
    return made.pairs


def _own_pairs(context: StageContext, stage: DpoStage, config: OwnSamplesConfig) -> list[PreferencePair]:
    """Sampled once and kept, so that a resumed stage trains on the same pairs."""
    path = context.directory / "pairs.npz"
    if not path.exists():
        prompts = context.data.prompts(stage.data, stage=stage.name, max_tokens=config.sampling.max_tokens)
        prompts = prompts[: config.prompts]
        context.parts.serve(context.model_dir)
        with context.console.progress(f"{stage.name}: sampling", total=len(prompts), done=0) as progress:
            groups = context.collect_all(
                prompts,
                samples=config.samples_per_prompt,
                sampling=config.sampling.sampling(context.data.format.stop_token_ids),
                on_progress=lambda done: progress.step(done, {}),
            )
        samples = SampleLog(context.directory, first_step=0)
        samples.write(0, groups)
        samples.close()
        made = pairs_from_samples(groups, pairs_per_prompt=config.pairs_per_prompt, seed=context.recipe.seed)
        context.console.say(
            f"{stage.name}: {len(made.pairs)} pairs from {len(prompts)} prompts; {made.dropped} had no contrast"
        )
        if not made.pairs:
            raise DataError(
                f"stage {stage.name} needs prompts that the model answers right and wrong; all {len(prompts)} were "
                "answered one way only: raise own_samples.prompts or samples_per_prompt, or change the stage before"
            )
        _write_pairs(path, made.pairs)
    return _read_pairs(path)


def _write_pairs(path: Path, pairs: Sequence[PreferencePair]) -> None:
    rows = [row for pair in pairs for row in (pair.chosen, pair.rejected)]
    beside = path.with_name("writing-pairs.npz")
    np.savez(
        beside,
        token_ids=np.concatenate([row.token_ids for row in rows]),
        weights_T=np.concatenate([row.weights_T for row in rows]),
        lengths=np.array([len(row.token_ids) for row in rows]),
    )
    beside.rename(path)


def _read_pairs(path: Path) -> list[PreferencePair]:
    with np.load(path, allow_pickle=False) as stored:
        cuts = np.cumsum(stored["lengths"])[:-1]
        tokens, weights = np.split(stored["token_ids"], cuts), np.split(stored["weights_T"], cuts)
    rows = [TrainRow(token_ids=ids, weights_T=weight) for ids, weight in zip(tokens, weights, strict=True)]
    return [PreferencePair(chosen=rows[place], rejected=rows[place + 1]) for place in range(0, len(rows), 2)]
