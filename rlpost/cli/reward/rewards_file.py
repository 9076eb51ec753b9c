"""A reward given as a verifier or as a whole `rewards` section, as one function of samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from rlpost.cli.reward.options import parsed_params, runnable
from rlpost.errors import RecipeError, RewardError
from rlpost.recipe.layers import read_document, shown_file
from rlpost.recipe.messages import problems_of
from rlpost.recipe.paths import at_absolute_path
from rlpost.recipe.problems import recipe_error
from rlpost.recipe.rewards import RewardsConfig
from rlpost.recipe.sections import Section
from rlpost.recipe.yaml_tree import Node, child, plain
from rlpost.records import Sample, Verdict
from rlpost.scoring.scorer import RoutedScorer
from rlpost.workbench.answers import place_of
from rlpost.workbench.verifier_runner import VerifierRunner

YAML_ENDINGS = (".yaml", ".yml")


class _RewardsFile(Section):
    """The `rewards` section of a recipe."""

    rewards: RewardsConfig


@dataclass(frozen=True, kw_only=True)
class Reward:
    """A reward that is ready to judge."""

    judged: Callable[[Sequence[Sample]], list[Verdict]]
    name: str
    where: str | None
    """The place where it reads the answer, if it is one verifier with such a parameter."""
    top: float
    """The score of a right answer."""


@contextmanager
def open_reward(reference: str, *, params: str, workers: int) -> Generator[Reward]:
    """Open the reward of `--reward` (a verifier, or a YAML file with a section `rewards`) for a with-block.

    Raises:
        RewardError: the verifier does not exist, cannot run here, or its parameters do not fit.
        RecipeError: the file is wrong.
    """
    if reference.endswith(YAML_ENDINGS):
        if parsed_params(params):
            raise RewardError(f"--params goes with one verifier; write the parameters into {reference}")
        with RoutedScorer(read_rewards(Path(reference)), workers=workers) as scorer:
            yield Reward(
                judged=lambda samples: scorer.score(samples) if samples else [], name=reference, where=None, top=1.0
            )
        return
    verifier = runnable(reference)
    values = verifier.validated(parsed_params(params))
    with VerifierRunner(verifier, workers=workers) as judge:
        yield Reward(
            judged=lambda samples: judge(samples, params=values) if samples else [],
            name=verifier.spec.stamp,
            where=place_of(verifier, values),
            top=verifier.spec.score_range[1],
        )


def read_rewards(path: Path) -> RewardsConfig:
    """Read the section `rewards` of a YAML file, which may be a whole recipe; its paths are relative to the file.

    Raises:
        RecipeError: the file cannot be read, it has no such section, or the section is wrong.
    """
    document = read_document(path, overrides=[])
    section = child(document.root, "rewards")
    if section is None:
        raise RecipeError(f"{shown_file(path)} must have a section `rewards:`; it has none")
    root = Node(value={"rewards": section}, where=document.root.where)
    problems = [problem for problem in document.problems if problem.path[:1] == ("rewards",)]
    if problems:
        raise recipe_error(root, problems, title=shown_file(path))
    content = _with_absolute_files(plain(root), folder=section.where.folder)
    try:
        return _RewardsFile.model_validate_json(json.dumps(content), strict=True).rewards
    except ValidationError as error:
        problems = problems_of(error, model=_RewardsFile, root=root)
        raise recipe_error(root, problems, title=shown_file(path)) from error


def _with_absolute_files(value: Any, *, folder: Path) -> Any:
    if isinstance(value, list):
        return [_with_absolute_files(item, folder=folder) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    items = cast("dict[str, Any]", value).items()
    return {
        key: at_absolute_path(item, folder=folder)
        if key == "verifier" and isinstance(item, str)
        else item
        if key == "params"
        else _with_absolute_files(item, folder=folder)
        for key, item in items
    }
