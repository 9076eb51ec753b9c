"""Checks that every stage starts from artifacts that exist by then and have the right kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rlpost.recipe.nearest import nearest_words
from rlpost.recipe.paths import exists
from rlpost.recipe.problems import Problem
from rlpost.recipe.schema import BASE, Recipe
from rlpost.recipe.stages import AnyStage, Parent
from rlpost.recipe.yaml_tree import KeyPath


def start_problems(recipe: Recipe, index: int) -> Iterator[Problem]:
    """Find parents of a stage that do not exist before it, or have a kind that the stage does not accept."""
    stage = recipe.stages[index]
    check_of_role = {"start": _start, "critic": _critic_start}
    for parent in stage.parents:
        if parent.name is not None:
            where = ("stages", index, *parent.key)
            yield from check_of_role[parent.role](recipe, stage, parent, parent.name, where=where)


def _start(recipe: Recipe, stage: AnyStage, parent: Parent, start: str, *, where: KeyPath) -> Iterator[Problem]:
    earlier = recipe.stages[: recipe.stages.index(stage)]
    named = recipe.stage_called(start)
    if start != BASE and (named is None or named not in earlier):
        text = f"no stage before {stage.name} is called {start!r}"
        if named is not None:
            text = f"must name a stage before {stage.name}; {start} {'is itself' if named == stage else 'comes later'}"
        yield Problem(path=where, text=f"{text}; {nearest_words(start, [BASE, *(other.name for other in earlier)])}")
    elif recipe.product_of(start) not in parent.accepts:
        models = [other.name for other in earlier if other.produces in parent.accepts]
        yield Problem(
            path=where,
            text=f"{start} is a reward model, from which only another reward_model stage or the `value` of a ppo stage "
            f"can start; {nearest_words(start, [BASE, *models])}",
        )


def _critic_start(recipe: Recipe, stage: AnyStage, parent: Parent, start: str, *, where: KeyPath) -> Iterator[Problem]:
    earlier = recipe.stages[: recipe.stages.index(stage)]
    named = recipe.stage_called(start)
    reward_models = [other.name for other in earlier if other.produces in parent.accepts]
    if named is not None:
        if start not in reward_models:
            kind = f"of kind {named.kind}" if named in earlier else "not before this stage"
            yield Problem(
                path=where,
                text=f"must name a reward_model stage before {stage.name}; {start} is {kind}: "
                f"{nearest_words(start, ['policy', *reward_models])}",
            )
    elif not exists(Path(start) / "config.json"):
        yield Problem(
            path=where,
            text="must be `policy`, a reward_model stage before this one, or a directory with config.json; "
            f"{start!r} is none of these: {nearest_words(start, ['policy', *reward_models])}",
        )
