"""Skips optimizer steps without a finite loss, only a few in a row, and names the samples behind them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rlpost.errors import NonFiniteError
from rlpost.interfaces import Learner, LossFn
from rlpost.records import FloatArray
from rlpost.train_records import StepReport, TrainBatch

_NAMED = 5
"""Most rows that a message names."""


class FiniteSteps:
    """Takes the optimizer steps of one stage.

    Args:
        learner: The learner; it leaves its weights unchanged when it refuses a step.
        numbers: Returns the learner's output for every token of a batch, shape [T]: log-probabilities, or scores.
        most_in_a_row: Most consecutive steps that may be skipped (`learner.max_skipped_steps`).
        say: Prints a line for the user.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        numbers: Callable[[TrainBatch], FloatArray],
        most_in_a_row: int,
        say: Callable[[str], None],
    ) -> None:
        self._learner, self._numbers = learner, numbers
        self._most_in_a_row, self._say = most_in_a_row, say
        self._in_a_row, self._last_words = 0, ""

    def step(self, batch: TrainBatch, loss: LossFn, *, planned_step: int) -> StepReport | None:
        """Take one optimizer step; return None if it was skipped because its loss or gradient was not finite.

        `planned_step` is its index among the steps that the stage plans; a skipped step has one too.

        Raises:
            NonFiniteError: too many steps in a row were skipped; the message names the rows.
        """
        try:
            report = self._learner.step(batch, loss, planned_step=planned_step)
        except NonFiniteError as error:
            self._in_a_row += 1
            self._last_words = told = f"{error} ({suspects(batch, self._numbers(batch))})"
            if self._in_a_row > self._most_in_a_row:
                raise NonFiniteError(
                    f"{told}: step {self._in_a_row} in a row, and learner.max_skipped_steps lets {self._most_in_a_row} "
                    "be left out"
                ) from error
            self._say(f"a step is left out, {self._in_a_row} in a row of {self._most_in_a_row} at most: {told}")
            return None
        self._in_a_row = 0
        return report

    def end(self) -> None:
        """End the stage after its last step.

        Raises:
            NonFiniteError: the last steps were skipped, so there is no evidence that the model is sound.
        """
        if self._in_a_row:
            raise NonFiniteError(
                f"{self._last_words}: a stage must end with a finite step, and its last {self._in_a_row} were left out"
            )


def suspects(batch: TrainBatch, numbers_T: FloatArray) -> str:
    """Name the rows that may have caused a loss that is not finite."""
    for name, values_T in {"weights_T": batch.weights_T, **batch.columns}.items():
        if rows := _rows_where(~np.isfinite(values_T), batch):
            return f"the batch has {name} that are not finite: {_names(rows, batch)}"
    if rows := _rows_where(~np.isfinite(numbers_T), batch):
        return f"the model's outputs are not finite for {_names(rows, batch)}"
    lowest = np.minimum.reduceat(np.where(batch.weights_T != 0, numbers_T, np.inf), _starts(batch))
    rows = np.argsort(lowest, kind="stable")[:_NAMED].tolist()
    return f"no row alone is behind it; the model finds these least likely: {_names(rows, batch)}"


def _rows_where(is_bad_T: np.ndarray[tuple[int], np.dtype[np.bool_]], batch: TrainBatch) -> list[int]:
    return np.flatnonzero(np.logical_or.reduceat(is_bad_T, _starts(batch))).tolist()


def _starts(batch: TrainBatch) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.cumsum(batch.row_lengths_B, dtype=np.int64) - batch.row_lengths_B


def _names(rows: list[int], batch: TrainBatch) -> str:
    named = [batch.sources[row] or f"row {row}" for row in rows[:_NAMED]]
    return "; ".join(named) + (f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else "")
