"""Checks, before a device is used, whether the verifiers can read the golds of the rows that they will judge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rlpost.data.library import DataLibrary
from rlpost.errors import DataError
from rlpost.recipe.schema import Recipe
from rlpost.records import Example, Fault, Sample
from rlpost.scoring.composition import Leaf
from rlpost.scoring.executors import Executors
from rlpost.scoring.routes import RouteTable

MOST_ROWS = 100
"""Rows of each data set that are looked at, spread evenly over it."""


class _Unread(NamedTuple):
    row: str
    reason: str


def check_golds(recipe: Recipe, data: DataLibrary, *, say: Callable[[str], None]) -> None:
    """Have an empty answer judged for some rows of each data set, and report golds that cannot be read.

    Services (judges, reward models) are not asked.

    Raises:
        DataError: a verifier can read no gold of a data set.
    """
    rewards = recipe.judging()
    if rewards is None:
        return
    table = RouteTable(rewards)
    asked: dict[tuple[str, str], int] = defaultdict(int)
    unread: dict[tuple[str, str], list[_Unread]] = defaultdict(list)
    leaves = {id(leaf): leaf for part in table.routes.values() for leaf in part.leaves}
    local = {key: leaf for key, leaf in leaves.items() if leaf.verifier.spec.isolation != "remote"}
    executors = Executors([leaf.verifier for leaf in local.values()], workers=1)
    try:
        by_leaf: dict[int, list[Sample]] = defaultdict(list)
        for name in dict.fromkeys(name for stage in recipe.stages if stage.judges for name in stage.data_sets):
            for example in _spread(data.rows(name)):
                sample = _unanswered(example)
                for leaf in table.route_of(sample).leaves:
                    by_leaf[id(leaf)].append(sample)
        for key, samples in by_leaf.items():
            if key not in local:
                continue
            verifier = local[key].verifier.spec.name
            for sample in samples:
                asked[sample.dataset, verifier] += 1
            for dataset, row, reason in _unreadable(executors, local[key], samples):
                unread[dataset, verifier].append(_Unread(row, reason))
    finally:
        executors.close()
    for (dataset, verifier), rows in unread.items():
        count = asked[dataset, verifier]
        first = f"row {rows[0].row}: {rows[0].reason}"
        if len(rows) == count:
            raise DataError(
                f"verifier {verifier} must be able to read the golds of {dataset}; it can read none of {count} rows, "
                f"for example {first}: correct data.{dataset} (columns.gold), or give it another verifier in "
                "rewards.routes"
            )
        say(f"{dataset}: verifier {verifier} cannot read {len(rows)} of {count} golds, for example {first}")


def _spread(examples: Sequence[Example]) -> list[Example]:
    count = min(len(examples), MOST_ROWS)
    return [examples[place * len(examples) // count] for place in range(count)]


def _unanswered(example: Example) -> Sample:
    return Sample(
        id=example.id,
        prompt=example.question,
        response="",
        gold=example.gold,
        meta=example.meta,
        dataset=example.dataset,
        group=example.id,
    )


def _unreadable(executors: Executors, leaf: Leaf, samples: Sequence[Sample]) -> list[tuple[str, str, str]]:
    verdicts = executors.judge(leaf.verifier, samples, params=leaf.params, timeout_s=leaf.timeout_s)
    return [
        (sample.dataset, sample.id, verdict.reason)
        for sample, verdict in zip(samples, verdicts, strict=True)
        if verdict.fault is Fault.GOLD
    ]
