"""Threads that look around by the clock leave the cores to those that compute."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest
from engine_probe import last_word_of, start_generator
from learner_ranks import run_on_ranks
from tiny_models import save_tiny_model
from torch.distributed.device_mesh import DeviceMesh

from rlpost.platform import idle_threads
from rlpost.platform.idle_threads import SLACK_S, rarely_waking, timer_slack_ns

GLOO_LOOP = "gloo_tcp_loop"
MOST_WAKES_PER_S = 20.0
"""Each; 10 of them are the slack's, and 98 without it."""


def slack_of_a_new_thread() -> int | None:
    found: list[int | None] = []
    thread = threading.Thread(target=lambda: found.append(timer_slack_ns()))
    thread.start()
    thread.join()
    return found[0]


def test_a_thread_started_inside_is_late_and_one_started_after_is_not() -> None:
    before = timer_slack_ns()
    with rarely_waking():
        assert slack_of_a_new_thread() == int(SLACK_S * 1e9)
    assert timer_slack_ns() == before
    assert slack_of_a_new_thread() == before


def test_the_slack_is_put_back_after_an_error() -> None:
    before = timer_slack_ns()
    with pytest.raises(ValueError, match="inside"), rarely_waking():
        raise ValueError("inside")
    assert timer_slack_ns() == before


def test_where_the_system_refuses_nothing_is_changed_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def refused(option: int, value: int) -> int:
        asked.append(value)
        return -1

    monkeypatch.setattr(idle_threads, "_prctl", refused)
    with rarely_waking():
        assert timer_slack_ns() is None
    assert set(asked) == {0}


def wakes_per_s(seconds: float = 2.0) -> list[float]:
    """Of every gloo thread of this process."""

    def waits() -> dict[str, int]:
        return {
            task.name: int((task / "status").read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])
            for task in Path("/proc/self/task").iterdir()
            if (task / "comm").read_text().strip() == GLOO_LOOP
        }

    before = waits()
    time.sleep(seconds)
    # A thread that began or ended meanwhile has no rate.
    return [(count - before[thread]) / seconds for thread, count in waits().items() if thread in before]


def wakes_of_a_rank(mesh: DeviceMesh) -> list[float]:
    assert mesh.size() == 1
    return wakes_per_s()


def wakes_of_an_engine(folder: Path) -> list[float]:
    generator = start_generator(save_tiny_model(folder / "model", tied=True, seed=0), weight_version=0, kv_cache_mib=8)
    try:
        return wakes_per_s()
    finally:
        generator.close()


def test_the_threads_of_a_learner_rank_wake_rarely() -> None:
    wakes = run_on_ranks(wakes_of_a_rank, ranks=1)
    assert wakes
    assert max(wakes) < MOST_WAKES_PER_S


@pytest.mark.engine
def test_the_threads_of_an_engine_wake_rarely(tmp_path: Path) -> None:
    count, most = last_word_of(__file__, tmp_path).split(",")
    assert int(count) >= 2
    assert float(most) < MOST_WAKES_PER_S


if __name__ == "__main__":
    found = wakes_of_an_engine(Path(sys.argv[1]))
    print(f"{len(found)},{max(found)}", flush=True)
    os._exit(0)
