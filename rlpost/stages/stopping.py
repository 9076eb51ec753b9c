"""Stop requests: the run ends at the next step with a checkpoint, instead of in the middle of a step."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from rlpost.errors import PreemptedError


class StoppedEarly(KeyboardInterrupt):
    """The run was asked to stop before its first step; not an Exception, so that no handler catches it by mistake."""


def stop_early(number: int, frame: object) -> None:
    """Stop the run at once; a signal handler.

    Raises:
        StoppedEarly: always.
    """
    raise StoppedEarly(f"stopped before the first step, as {signal.Signals(number).name} asked for")


class StopRequest:
    """Whether the run has been asked to stop.

    Args:
        signals: Signals that request a stop. The first one is handled here; a second one ends the run at once, like
            Ctrl-C.
    """

    def __init__(self, signals: Sequence[signal.Signals]) -> None:
        self._signals = signals
        self._asked_by: signal.Signals | None = None

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self._asked_by is not None

    def listen(self) -> None:
        """Handle the signals from now on. Call it again after `import ray` and `ray.init`, which replace the SIGTERM
        handler.
        """
        if not self.requested:
            for number in self._signals:
                signal.signal(number, self._hear)

    def raise_if_requested(self, where: str) -> None:
        """End the run here if a stop was requested.

        Raises:
            PreemptedError: a stop was requested.
        """
        if self._asked_by is not None:
            raise PreemptedError(
                f"stopped {where}, as {self._asked_by.name} asked for; the same command goes on from there"
            )

    def _hear(self, number: int, frame: object) -> None:
        self._asked_by = signal.Signals(number)
        signal.signal(number, signal.default_int_handler)
