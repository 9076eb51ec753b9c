r"""Tuples, intervals and sets of plain numbers: `(1, 2)`, `[0, \frac12)`, `\{3, 1\}`. Exact, without algebra."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from rewards.plain_numbers import read_plain_number

_BRACKETS = (("\\{", "\\}"), ("(", ")"), ("[", "]"), ("(", "]"), ("[", ")"))
MOST_ELEMENTS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberList:
    """A list of numbers: its brackets as written, and the value of each element."""

    brackets: tuple[str, str]
    values: tuple[Fraction, ...]

    def same_as(self, other: NumberList) -> bool:
        """Whether two lists are equal; in a set, order and repetition do not matter."""
        if self.brackets[0] == "\\{":
            return set(self.values) == set(other.values)
        return self.values == other.values


def read_number_list(text: str) -> NumberList | None:
    """Read the list that makes up the whole of `text`; None if it is not one, or an element is not a plain number or
    has a unit.
    """
    text = text.strip()
    brackets = next((pair for pair in _BRACKETS if text.startswith(pair[0]) and text.endswith(pair[1])), None)
    if brackets is None or len(text) < sum(map(len, brackets)):
        return None
    elements = text[len(brackets[0]) : len(text) - len(brackets[1])].split(",")
    if not 2 <= len(elements) <= MOST_ELEMENTS:
        return None
    numbers = [read_plain_number(element) for element in elements]
    values = [number.value for number in numbers if number is not None and not number.unit]
    return NumberList(brackets=brackets, values=tuple(values)) if len(values) == len(elements) else None
