"""Engines die or stop under load, and the pool loses nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import ray
from pool_bench import Bench, MakePool
from scripted_engine import a_manifest

from rlpost.cluster.engine import EngineState
from rlpost.cluster.restarts import WINDOW_S, RestartBudget
from rlpost.errors import ActorLostError, ClusterError

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]


def send(bench: Bench, number: signal.Signals, *, to: Sequence[int]) -> None:
    """A signal to the processes of these engines."""
    actors = [engine.actor for engine in bench.pool._roster.engines if engine.place in to]
    for pid in ray.get([actor.pid.remote() for actor in actors]):
        os.kill(pid, number)


def serves_again(bench: Bench, names: list[str], *, said: int) -> None:
    """Poll until all these engines serve, some of them anew."""
    bench.hear_until(lambda: sorted(bench.serving()) == names and len(bench.said) >= said, within_s=40)


def wait_without_polling(reached: Callable[[], bool]) -> None:
    """Until the pool has got there by itself."""
    deadline_s = time.monotonic() + 40
    while not reached():
        assert time.monotonic() < deadline_s, "nobody looked after the engines"
        time.sleep(0.05)


def test_the_others_answer_for_an_engine_that_is_killed_and_a_new_one_takes_its_place(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, limit=4, seconds={"rollout-0": 0.02, "rollout-1": 0.3})
    bench.ask(0, 1)
    bench.hear_all()
    bench.pool.pull_weights(a_manifest(3), keep_kv_cache=False)
    bench.ask(1, 12)
    while not bench.pool._roster.engines[1].in_flight:
        bench.hear(0.01)
    orphans = len(bench.pool._roster.engines[1].in_flight)
    send(bench, signal.SIGKILL, to=[1])
    bench.hear_all()
    serves_again(bench, ["rollout-0", "rollout-1"], said=2)
    assert bench.said == [
        f"rollout actor rollout-1 was lost while it was serving; the others answer its {orphans} requests; "
        "a new one starts in 1 s",
        "rollout actor rollout-1 serves",
    ]
    bench.ask(13, 8)
    bench.hear_all()
    new = [rollout for rollout in bench.answers.values() if rollout.text == "rollout-1" and rollout.key[0] >= "13"]
    assert new and {rollout.oldest_version for rollout in new} == {3}, "it served before it held the weights"


def test_all_engines_killed_at_once_come_back_and_answer_everything(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, limit=4, seconds={"rollout-0": 0.2, "rollout-1": 0.2})
    bench.ask(0, 6)
    bench.hear(0.01)
    send(bench, signal.SIGKILL, to=[0, 1])
    bench.hear_until(lambda: len(bench.said) == 2)
    # With nobody to acknowledge them, new weights wait in the store for who comes back.
    assert bench.pool.pull_weights(a_manifest(7), keep_kv_cache=False) == []
    bench.hear_until(lambda: bench.answers.keys() == bench.seeds.keys(), within_s=40)
    assert {rollout.oldest_version for rollout in bench.answers.values()} <= {0, 7}
    assert {load.version for load in bench.pool.loads()} == {7}


def test_an_engine_killed_in_the_middle_of_a_weight_update_gives_no_receipt_and_pulls_when_it_is_back(
    make_pool: MakePool,
) -> None:
    bench = make_pool(actors=2, pull_s={"rollout-1": 1.0})
    bench.ask(0, 2)
    bench.hear_all()
    pid = ray.get(bench.pool._roster.engines[1].actor.pid.remote())
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    killer.start()
    receipts = bench.pool.pull_weights(a_manifest(1), keep_kv_cache=False)
    assert [receipt.generator for receipt in receipts] == ["rollout-0"]
    assert bench.serving() == ["rollout-0"], "it is known to be lost before anybody polls"
    serves_again(bench, ["rollout-0", "rollout-1"], said=2)
    assert {load.version for load in bench.pool.loads()} == {1}


def test_an_engine_that_dies_while_nobody_polls_is_replaced_and_catches_up_meanwhile(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, limit=4)
    bench.ask(0, 2)
    bench.hear_all()
    bench.pool.pull_weights(a_manifest(3), keep_kv_cache=False)
    send(bench, signal.SIGKILL, to=[1])
    wait_without_polling(lambda: len(bench.said) == 2)
    assert bench.said[1] == "rollout actor rollout-1 serves"
    assert {load.generator: load.version for load in bench.pool.loads()} == {"rollout-0": 3, "rollout-1": 3}


def test_what_is_answered_while_nobody_polls_is_given_once_and_not_after_it_was_abandoned(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, limit=2, seconds={"rollout-0": 0.05, "rollout-1": 0.05})
    bench.ask(0, 12)
    # More than the engines take at once: their next requests are given to them while nobody polls.
    wait_without_polling(lambda: len(bench.pool._heard) == 48)
    assert len(bench.hear(0.0)) == 48
    bench.ask(12, 12)
    wait_without_polling(lambda: len(bench.pool._heard) == 48)
    bench.pool.abandon()
    assert bench.hear(1.5) == []


def test_the_death_too_many_while_nobody_polls_ends_the_next_poll(make_pool: MakePool) -> None:
    bench = make_pool(max_restarts=0)
    bench.ask(0, 1)
    bench.hear_all()
    send(bench, signal.SIGKILL, to=[0])
    wait_without_polling(lambda: bench.pool._failure is not None)
    for _ in range(2):
        with pytest.raises(ClusterError, match=r"rollout\.max_restarts"):
            bench.hear()


def test_an_engine_that_is_stopped_is_killed_after_its_silence_and_replaced(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, limit=4, seconds={"rollout-0": 0.02, "rollout-1": 0.2}, silence_timeout_s=1.0)
    bench.ask(0, 8)
    while not bench.pool._roster.engines[1].in_flight:
        bench.hear(0.01)
    pid = ray.get(bench.pool._roster.engines[1].actor.pid.remote())
    os.kill(pid, signal.SIGSTOP)
    bench.hear_all()
    serves_again(bench, ["rollout-0", "rollout-1"], said=2)
    assert bench.said[0].startswith("rollout actor rollout-1 was lost while it was serving")
    assert not Path(f"/proc/{pid}").exists(), "the stopped process is still there"


def test_a_weight_update_does_not_wait_for_an_engine_that_is_stopped_while_nobody_polls(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, silence_timeout_s=1.0)
    bench.ask(0, 2)
    bench.hear_all()
    time.sleep(1.5)  # Until its last poll is answered, which nobody reads.
    send(bench, signal.SIGSTOP, to=[1])
    started_s = time.monotonic()
    receipts = bench.pool.pull_weights(a_manifest(1), keep_kv_cache=False)
    assert [receipt.generator for receipt in receipts] == ["rollout-0"]
    assert time.monotonic() - started_s < 15


def test_a_new_engine_that_dies_before_it_serves_is_replaced_too(make_pool: MakePool, tmp_path: Path) -> None:
    mark = tmp_path / "die"
    bench = make_pool(actors=2, limit=4, seconds={"rollout-0": 0.02}, dies_at_start=mark)
    bench.ask(0, 2)
    bench.hear_all()
    mark.touch()
    send(bench, signal.SIGKILL, to=[1])
    bench.hear_until(lambda: any("while it was starting" in said for said in bench.said), within_s=30)
    mark.unlink()
    serves_again(bench, ["rollout-0", "rollout-1"], said=3)
    assert bench.said[-1] == "rollout actor rollout-1 serves"
    assert not bench.pool._roster.those(EngineState.STARTING)


def test_more_deaths_than_allowed_end_the_run_with_the_reason(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, seconds={"rollout-0": 5.0, "rollout-1": 5.0}, max_restarts=0)
    bench.ask(0, 2)
    send(bench, signal.SIGKILL, to=[1])
    with pytest.raises(ClusterError, match=r"died 1 times within 10 minutes, and at most 0 .*rollout-1 died"):
        for _ in range(50):
            bench.hear()


def test_pauses_double_up_to_half_a_minute_and_old_deaths_are_forgotten() -> None:
    budget = RestartBudget("parts died", most=7, setting="parts.max_restarts")
    error = ActorLostError("gone")
    assert [budget.pause_s(error, now_s=float(second)) for second in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    with pytest.raises(ClusterError, match=r"parts died 8 times .*parts\.max_restarts.*gone"):
        budget.pause_s(error, now_s=7.0)
    assert budget.pause_s(error, now_s=8.0 + WINDOW_S) == 1
    assert budget.total == 9
