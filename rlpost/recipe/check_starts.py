"""Checks that every stage starts from artifacts that exist by then and have the right kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rlpost.errors import ModelError
from rlpost.recipe.model_layout import refuse_difference
from rlpost.recipe.nearest import nearest_words
from rlpost.recipe.paths import exists
from rlpost.recipe.problems import Problem
from rlpost.recipe.schema import BASE, Recipe
from rlpost.recipe.stages import AnyStage, Parent
from rlpost.recipe.yaml_tree import KeyPath


def start_problems(recipe: Recipe, index: int) -> Iterator[Problem]:
    """Find parents of a stage that do not exist before it, or have a kind that the stage does not accept."""
    stage = recipe.stages[index]
    check_of_role = {"start": _start, "critic": _critic_start, "source": _merged, "task_base": _merged}
    for parent in stage.parents:
        if parent.name is not None:
            where = ("stages", index, *parent.key)
            yield from check_of_role[parent.role](recipe, stage, parent, parent.name, where=where)
    yield from _unlike(recipe, stage, path=("stages", index))


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


def _merged(recipe: Recipe, stage: AnyStage, parent: Parent, name: str, *, where: KeyPath) -> Iterator[Problem]:
    earlier = recipe.stages[: recipe.stages.index(stage)]
    named = recipe.stage_called(name)
    known = [BASE, *(other.name for other in earlier if other.produces in parent.accepts)]
    if named is not None and named not in earlier:
        text = f"must name a stage before {stage.name}; {name} {'is itself' if named == stage else 'comes later'}"
        yield Problem(path=where, text=f"{text}; {nearest_words(name, known)}")
    elif recipe.is_artifact(name):
        if recipe.product_of(name) not in parent.accepts:
            yield Problem(
                path=where,
                text=f"{name} is a reward model, and a merge is of language models; {nearest_words(name, known)}",
            )
    elif not exists(Path(name) / "config.json"):
        yield Problem(
            path=where,
            text=f"must be `base`, a stage before {stage.name}, or a directory with config.json; {name!r} is none of "
            f"these: {nearest_words(name, known)}",
        )


def merged_models(recipe: Recipe, stage: AnyStage, *, base: Path) -> list[tuple[KeyPath, Path]]:
    """Return the models that a stage merges: the key that names each, and a directory with its names and shapes.

    All artifacts of the run have the names and shapes of `base`, so its directory stands for them. Empty for a stage
    that merges nothing.
    """
    return [
        (parent.key, base if recipe.is_artifact(name) else Path(name))
        for parent, name in recipe.parents_of(stage)
        if parent.role in ("source", "task_base")
    ]


def _unlike(recipe: Recipe, stage: AnyStage, *, path: KeyPath) -> Iterator[Problem]:
    """Find merged models that are on disk already and whose weights differ in names, shapes or reading."""
    models = merged_models(recipe, stage, base=Path(recipe.model.path or ""))
    there = [(key, model) for key, model in models if exists(model / "config.json")]
    for key, model in there[1:]:
        if model == there[0][1]:
            continue
        try:
            refuse_difference(there[0][1], model)
        except ModelError as error:
            yield Problem(path=(*path, *key), text=str(error))
            return
