"""Options and data sets that the commands of `rlpost data` share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Protocol

import typer

from rlpost.data.examples import ExampleTable
from rlpost.data.overlap.words import Turns
from rlpost.data.sources import open_examples
from rlpost.data.tables.cache import DataCache
from rlpost.errors import RecipeError
from rlpost.recipe.nearest import nearest_words
from rlpost.recipe.schema import PreparationRole, Recipe
from rlpost.records import Example

DataOption = Annotated[
    list[str] | None,
    typer.Option("--data", help="A data set to look at; by default all that stages train on.", show_default=False),
]
TurnsOption = Annotated[
    Turns, typer.Option(help="`user` compares the user's turns of conversations, `all` also the answers.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_ROWS_PER_READ = 1000


def trained_sets(recipe: Recipe, chosen: Sequence[str] | None) -> list[str]:
    """Return the chosen data sets, or all that stages train on.

    Raises:
        RecipeError: the recipe has no such data set.
    """
    known_names(recipe, chosen or ())
    return list(chosen or dict.fromkeys(name for stage in recipe.stages for name in stage.data_sets))


def known_names(recipe: Recipe, names: Sequence[str]) -> None:
    """Check that the recipe has these data sets.

    Raises:
        RecipeError: it lacks one.
    """
    for name in names:
        if name not in recipe.data:
            raise RecipeError(
                f"a data set must be one of the recipe; found {name!r}: {nearest_words(name, recipe.data)}"
            )


def opened(recipe: Recipe, name: str) -> ExampleTable:
    """Open a data set of the recipe, without a tokenizer."""
    return open_examples(name, recipe.data[name], cache=DataCache(Path(PreparationRole().cache_dir).expanduser()))


class TurnReader(Protocol):
    """`row_turns` or `instance_turns`."""

    def __call__(self, example: Example, *, turns: Turns) -> list[list[str]]:
        """Return the words of each compared turn."""
        ...


def turns_in(table: ExampleTable, read: TurnReader, *, turns: Turns) -> Iterator[list[list[str]]]:
    """Yield the words of the compared turns of each row; few rows are in memory at a time."""
    for start in range(0, len(table), _ROWS_PER_READ):
        for example in table.read(range(start, min(start + _ROWS_PER_READ, len(table)))):
            yield read(example, turns=turns)


def where(table: ExampleTable, place: int) -> str:
    """Return the file and line, or the number, of the row at a place."""
    return table.table.place_of(int(table.numbers[place]))
