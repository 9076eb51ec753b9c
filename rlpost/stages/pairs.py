"""The preference pairs of a stage: given ones, or pairs from the model's own samples judged by the verifiers (TULU
3).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rlpost.data.preference import PreferencePair, pairs_from_samples
from rlpost.errors import DataError
from rlpost.recipe.stages import OwnSamplesConfig, PairStage
from rlpost.rollout.quarantine import Quarantine
from rlpost.stages.context import StageContext
from rlpost.stages.samples import SampleLog
from rlpost.train_records import TrainBatch, TrainRow, one_component


class StagePairs(NamedTuple):
    """The pairs of a stage, and the example or sample that each chosen answer is from."""

    pairs: Sequence[PreferencePair]
    row_ids: Sequence[str]


def pairs_of_stage(context: StageContext, stage: PairStage) -> StagePairs:
    """Return the pairs in its data sets, or pairs from its own samples; a resumed stage gets the same pairs.

    Raises:
        DataError: there are no pairs.
    """
    return _own_pairs(context, stage, stage.own_samples) if stage.own_samples else _given_pairs(context, stage)


def pair_batch(pairs: Sequence[PreferencePair]) -> TrainBatch:
    """Make a batch with chosen and rejected rows as neighbours; the loss is a mean over pairs."""
    rows = [row for pair in pairs for row in (pair.chosen, pair.rejected)]
    return TrainBatch.of(rows, components=one_component("pairs", float(len(pairs))), rows_per_unit=2)


def _given_pairs(context: StageContext, stage: PairStage) -> StagePairs:
    made = context.data.pairs(stage.data, stage=stage.name)
    if made.dropped:
        context.console.say(
            f"{stage.name}: {made.dropped} pairs are left out, longer than max_length or with equal sides"
        )
    return StagePairs(made.pairs, made.row_ids)


def _own_pairs(context: StageContext, stage: PairStage, config: OwnSamplesConfig) -> StagePairs:
    """Sample pairs once and store them, so that a resumed stage trains on the same pairs."""
    path = context.directory / "pairs.npz"
    if not path.exists():
        found = context.data.prompts(stage.data, stage=stage.name, max_tokens=config.sampling.max_tokens)
        prompts = found.prompts[: config.prompts]
        context.parts.serve(context.model_dir)
        with context.console.progress(f"{stage.name}: sampling", total=len(prompts), done=0) as progress:
            groups = context.collect_all(
                prompts,
                samples=config.samples_per_prompt,
                sampling=config.sampling.sampling(context.data.format.stop_token_ids),
                on_progress=lambda done: progress.step(done, {}),
            )
        samples = SampleLog(context.directory, first_step=0)
        samples.write(None, groups)
        samples.close()
        Quarantine(context.directory).add_from(groups)
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
    pairs = _read_pairs(path)
    return StagePairs(pairs, [pair.chosen.source for pair in pairs])


def _write_pairs(path: Path, pairs: Sequence[PreferencePair]) -> None:
    rows = [row for pair in pairs for row in (pair.chosen, pair.rejected)]
    beside = path.with_name("writing-pairs.npz")
    np.savez(
        beside,
        token_ids=np.concatenate([row.token_ids for row in rows]),
        weights_T=np.concatenate([row.weights_T for row in rows]),
        lengths=np.array([len(row.token_ids) for row in rows]),
        sources=np.array([row.source for row in rows]),
    )
    beside.rename(path)


def _read_pairs(path: Path) -> list[PreferencePair]:
    with np.load(path, allow_pickle=False) as stored:
        cuts = np.cumsum(stored["lengths"])[:-1]
        tokens, weights = np.split(stored["token_ids"], cuts), np.split(stored["weights_T"], cuts)
        sources: list[str] = stored["sources"].tolist()
    rows = [
        TrainRow(token_ids=ids, weights_T=weight, source=source)
        for ids, weight, source in zip(tokens, weights, sources, strict=True)
    ]
    return [PreferencePair(chosen=rows[place], rejected=rows[place + 1]) for place in range(0, len(rows), 2)]
