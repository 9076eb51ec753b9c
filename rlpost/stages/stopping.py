"""A request to stop: the run ends at the next step with a checkpoint, instead of in the middle of one."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from rlpost.errors import PreemptedError


class StoppedEarly(KeyboardInterrupt):
    """The run was asked to stop before it had a step to finish; no Exception, which somebody might catch."""


def stop_early(number: int, frame: object) -> None:
    """A signal handler.

    Raises:
        StoppedEarly: always.
    """
    raise StoppedEarly(f"stopped before the first step, as {signal.Signals(number).name} asked for")


class StopRequest:
    """Whether somebody has asked the run to stop.

    Args:
        signals: What asks for it. The first one is heard here; a second one ends the run at once, as Ctrl-C does.
    """

    def __init__(self, signals: Sequence[signal.Signals]) -> None:
        self._signals = signals
        self._asked_by: signal.Signals | None = None

    @property
    def requested(self) -> bool:
        """Whether it was asked for."""
        return self._asked_by is not None

    def listen(self) -> None:
        """Hear the signals from now on. Call it again after `import ray` and `ray.init`, which take SIGTERM away."""
        if not self.requested:
            for number in self._signals:
                signal.signal(number, self._hear)

    def raise_if_requested(self, where: str) -> None:
        """End the run here.

        Raises:
            PreemptedError: it was asked for.
        """
        if self._asked_by is not None:
            raise PreemptedError(
                f"stopped {where}, as {self._asked_by.name} asked for; the same command goes on from there"
            )

    def _hear(self, number: int, frame: object) -> None:
        self._asked_by = signal.Signals(number)
        signal.signal(number, signal.default_int_handler)
