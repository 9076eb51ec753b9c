"""The examples of one data set, made from its table row by row, when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlpost.data.columns import ColumnRules, example_of
from rlpost.data.prompt_wording import reword
from rlpost.data.row_shapes import shape_of
from rlpost.data.tables import NumberedRow, Table
from rlpost.errors import DataError, RlpostError
from rlpost.recipe.row_shapes import ShapeName
from rlpost.records import Example, assistant_turn

_EXAMPLES_PER_READ = 512


class Solution(NamedTuple):
    """A function of the recipe that writes the response of an example."""

    reference: str
    function: Callable[[Example], object]


class ExampleTable(Sequence[Example]):
    """The examples of one data set in the order in which they are used; none of them stays in memory.

    Args:
        name: The data set.
        table: Its source.
        numbers: The rows to use, in order; shape [rows].
        rules: How columns are read.
        template_arguments: Variables of the chat template for all rows.
        instruction: Replaces the wording of the questions; None keeps it.
        system: Replaces the system message; None keeps it.
        solution: Writes the responses; None keeps those of the rows.
    """

    def __init__(
        self,
        name: str,
        *,
        table: Table,
        numbers: NDArray[np.int64],
        rules: ColumnRules,
        template_arguments: dict[str, Any],
        instruction: str | None,
        system: str | None,
        solution: Solution | None,
    ) -> None:
        self.name, self.table, self.numbers = name, table, numbers
        self._rules, self._arguments = rules, template_arguments
        self._instruction, self._system, self._solution = instruction, system, solution

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.numbers)

    def __getitem__(self, place: Any) -> Any:
        """Return the example at a place, or a list of them for a slice."""
        places = range(len(self))[place]
        return self.read(places) if isinstance(places, range) else self.read([places])[0]

    def __iter__(self) -> Iterator[Example]:
        """Yield all examples in order."""
        for start in range(0, len(self), _EXAMPLES_PER_READ):
            yield from self.read(range(start, min(start + _EXAMPLES_PER_READ, len(self))))

    def read(self, places: Sequence[int]) -> list[Example]:
        """Return the examples at these places, in this order.

        Raises:
            DataError: a row is broken or lacks something; the message names the data set and the row.
        """
        rows = self.table.read(self.numbers[np.asarray(places, np.int64)].tolist())
        return [self._finished(self._read(row)) for row in rows]

    @property
    def shape(self) -> ShapeName:
        """The shape of the first row."""
        (first,) = self.table.read(self.numbers[:1].tolist())
        return shape_of(first.columns, named=self._rules.columns)

    def _read(self, row: NumberedRow) -> Example:
        try:
            return example_of(row, dataset=self.name, rules=self._rules)
        except DataError as error:
            raise DataError(f"{self.table.place_of(row.number)}: {error}") from error

    def _finished(self, example: Example) -> Example:
        arguments = {**self._arguments, **example.template_arguments}
        example = replace(example, template_arguments=arguments)
        example = reword(example, instruction=self._instruction, system=self._system)
        return example if self._solution is None else self._solved(example, self._solution)

    def _solved(self, example: Example, solution: Solution) -> Example:
        try:
            response = solution.function(example)
        except RlpostError:
            raise
        except Exception as error:  # This is the recipe's own code, which may raise any error.
            raise DataError(
                f"data.{self.name}.solution must return text; {solution.reference} raised {type(error).__name__} for "
                f"row {example.id}: {error}"
            ) from error
        if not isinstance(response, str):
            raise DataError(
                f"data.{self.name}.solution must return text; {solution.reference} returned a "
                f"{type(response).__name__} for row {example.id}"
            )
        return replace(example, completion=assistant_turn(response))
