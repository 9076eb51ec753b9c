"""Problems of a document, and how they are shown: one line each, with file, line and key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rlpost.errors import LONGEST_MESSAGE, RecipeError, shortened
from rlpost.recipe.yaml_tree import KeyPath, Node, Where, child, nearest_node

_LONGEST_LINE = 900
_LONGEST_KEY = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One problem of a document, with its remedy."""

    path: KeyPath
    """Path of the value; it names the place to the user."""
    text: str
    where: Where | None = None
    """Known while reading; otherwise it is looked up by the path."""


def shown_path(root: Node, path: KeyPath) -> str:
    """Format a path as a user would write it; list items go by name: `stages[grpo].sampling.max_tokens`."""
    shown = ""
    for depth, part in enumerate(path):
        if isinstance(part, str):
            key = shortened(part, most=_LONGEST_KEY)
            shown += f".{key}" if shown else key
            continue
        item = nearest_node(root, path[: depth + 1])
        name = child(item, "name") if isinstance(item.value, Mapping) else None
        is_named = name is not None and isinstance(name.value, str)
        shown += f"[{shortened(str(name.value), most=_LONGEST_KEY)}]" if name is not None and is_named else f"[{part}]"
    return shown


def problem_lines(root: Node, problems: Iterable[Problem]) -> list[str]:
    """Format one line per problem: place, key, text."""
    lines: list[str] = []
    for problem in problems:
        where = problem.where or nearest_node(root, problem.path).where
        key = shown_path(root, problem.path)
        lines.append(f"{where}: {key}: {problem.text}" if key else f"{where}: {problem.text}")
    return lines


def recipe_error(root: Node, problems: Sequence[Problem], *, title: str) -> RecipeError:
    """Make one error that lists all problems."""
    return RecipeError(listed(problem_lines(root, problems), title=title))


def listed(lines: Sequence[str], *, title: str) -> str:
    """Make a message of several lines, with their number on top; it shows as many as fit, and at least the first."""
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    shown: list[str] = []
    room = LONGEST_MESSAGE - len(title) - 60
    for line in lines:
        text = f"  {shortened(line, most=_LONGEST_LINE)}"
        room -= len(text) + 1
        if shown and room < 0:
            shown.append(f"  and {len(lines) - len(shown)} more, shown once these are fixed")
            break
        shown.append(text)
    return "\n".join([f"{title}: {count}", *shown])
