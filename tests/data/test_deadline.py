from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest

from rlpost.data.deadline import DeadlineError, deadline


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_a_loop_is_interrupted_even_if_it_catches_every_exception() -> None:
    start = time.monotonic()
    with pytest.raises(DeadlineError), deadline(0.1):
        while True:
            with suppress(Exception):
                spin(0.01)
    assert time.monotonic() - start < 5


def test_code_that_is_done_in_time_is_never_interrupted() -> None:
    done = 0
    for _ in range(1000):
        with deadline(0.3):
            done += 1
    spin(1.0)
    assert done == 1000


def test_only_the_thread_that_is_late_is_interrupted() -> None:
    outcomes: dict[str, bool] = {}

    def work(name: str, seconds: float) -> None:
        try:
            with deadline(0.1 if name == "late" else 30):
                spin(seconds)
        except DeadlineError:
            outcomes[name] = True
        else:
            outcomes[name] = False

    threads = [threading.Thread(target=work, args=arguments) for arguments in (("late", 20.0), ("in time", 1.5))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert outcomes == {"late": True, "in time": False}
