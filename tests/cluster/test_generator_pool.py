"""The pool over real Ray actors that hold scripted engines: routing, weight updates and resizing under load."""

from __future__ import annotations

import signal
import threading
import time

import pytest
import ray
from pool_bench import MakePool
from scripted_engine import a_manifest

from rlpost.cluster.engine import EngineState
from rlpost.errors import DataError

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]


def test_groups_stay_together_and_a_slow_engine_gets_less(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, seconds={"rollout-0": 0.01, "rollout-1": 0.1})
    bench.ask(0, 60)
    bench.hear_all()
    engines_of: dict[str, set[str]] = {}
    for (prompt, _), rollout in bench.answers.items():
        engines_of.setdefault(prompt, set()).add(rollout.text)
    assert all(len(engines) == 1 for engines in engines_of.values())
    by = bench.answered_by()
    assert by["rollout-0"] + by["rollout-1"] == 240
    assert by["rollout-0"] > 2 * by["rollout-1"] > 0


def test_deterministic_routing_is_a_function_of_the_index(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, deterministic=True, seconds={"rollout-0": 0.0, "rollout-1": 0.02})
    bench.ask(3, 2)
    bench.ask(5, 20)
    bench.hear_all()
    for (prompt, _), rollout in bench.answers.items():
        assert rollout.text == f"rollout-{int(prompt.partition(':')[0]) % 2}"


def test_work_goes_on_while_nobody_polls_and_an_idle_poll_ends_in_time(make_pool: MakePool) -> None:
    bench = make_pool(seconds={"rollout-0": 0.05}, limit=4)
    bench.ask(0, 1)
    bench.hear_all()
    start_s = time.monotonic()
    assert bench.hear(0.2) == []
    assert 0.2 <= time.monotonic() - start_s < 0.6
    bench.ask(1, 2)
    time.sleep(0.4)
    # Its limit and one group of backlog were given at once, so both are there without a poll in between.
    start_s = time.monotonic()
    while len(bench.answers) < 12:
        bench.hear(1.0)
    assert time.monotonic() - start_s < 0.3


def test_what_an_engine_refuses_is_raised_by_poll(make_pool: MakePool) -> None:
    bench = make_pool(refuse="1:sums/1")
    bench.ask(0, 2)
    with pytest.raises(DataError, match="1:sums/1 is refused"):
        for _ in range(20):
            bench.hear()


def test_weights_are_pulled_from_one_thread_while_another_submits_and_polls(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, seconds={"rollout-0": 0.01, "rollout-1": 0.02}, pull_s={"rollout-1": 0.01})
    bench.ask(0, 1)
    bench.hear_all()
    receipts: list[list[tuple[str, int, str]]] = []

    def publish() -> None:
        for version in range(1, 21):
            pulled = bench.pool.pull_weights(a_manifest(version), keep_kv_cache=version % 2 == 0)
            receipts.append([(receipt.generator, receipt.version, receipt.checksum) for receipt in pulled])

    publisher = threading.Thread(target=publish)
    publisher.start()
    index = 1
    while publisher.is_alive():
        bench.ask(index, 3)
        bench.hear()
        index += 3
    publisher.join()
    bench.hear_all()
    assert receipts == [
        [(f"rollout-{place}", version, f"sum-{version}") for place in range(2)] for version in range(1, 21)
    ]
    assert {rollout.oldest_version for rollout in bench.answers.values()} > {0, 20}


def test_an_added_engine_serves_only_once_it_holds_the_weights_that_are_current(make_pool: MakePool) -> None:
    bench = make_pool(seconds={"rollout-0": 0.02, "rollout-1": 0.02}, limit=4, pull_s={"rollout-1": 0.15})
    bench.pool.pull_weights(a_manifest(1), keep_kv_cache=False)
    published, acknowledged_at_issue = [1], dict[int, int]()
    counts: list[int] = []
    bench.pool.resize(2)
    added = bench.pool._roster.engines[1]

    def publish() -> None:
        # Faster than the new engine pulls, until it had to pull a second time.
        first_pulled = None
        for version in range(2, 500):
            counts.append(len(bench.pool.pull_weights(a_manifest(version), keep_kv_cache=False)))
            published[0] = version
            first_pulled = first_pulled or added.holds
            if counts.count(2) == 3:
                return
            time.sleep(0.03 if added.state is not EngineState.SERVING and added.holds is first_pulled else 0.3)

    publisher = threading.Thread(target=publish)
    publisher.start()
    index = 0
    while publisher.is_alive():
        # Few enough that none waits in the pool, where newer weights would overtake it.
        if len(bench.seeds) - len(bench.answers) < 8:
            acknowledged_at_issue[index] = published[0]
            bench.ask(index, 1)
            index += 1
        bench.hear(0.02)
    publisher.join()
    bench.hear_all()
    assert counts[0] == 1 and counts[-1] == 2 and counts == sorted(counts)
    by_new = [rollout for rollout in bench.answers.values() if rollout.text == "rollout-1"]
    assert len(by_new) > 10
    for rollout in by_new:
        assert rollout.oldest_version >= acknowledged_at_issue[int(rollout.key[0].partition(":")[0])]
    assert bench.said == ["rollout actors: 1 -> 2", "rollout actor rollout-1 serves"]


def test_an_engine_does_not_end_in_the_middle_of_a_weight_update(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, pull_s={"rollout-1": 0.6}, leave_timeout_s=0.1)
    bench.ask(0, 2)
    bench.hear_all()
    receipts: list[str] = []

    def publish() -> None:
        pulled = bench.pool.pull_weights(a_manifest(1), keep_kv_cache=False)
        receipts.extend(receipt.generator for receipt in pulled)

    publisher = threading.Thread(target=publish)
    publisher.start()
    while not any(engine.pulls for engine in bench.pool._roster.engines):
        time.sleep(0.01)
    bench.pool.resize(1)
    bench.hear_until(lambda: len(bench.pool._roster.engines) == 1)
    publisher.join()
    assert receipts == ["rollout-0", "rollout-1"]


def test_an_engine_that_leaves_finishes_what_it_has_and_ends(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, seconds={"rollout-0": 0.05, "rollout-1": 0.3})
    bench.ask(0, 4)
    bench.pool.resize(1)
    bench.ask(4, 4)
    bench.hear_all()
    by = bench.answered_by()
    assert by["rollout-1"] == 8
    assert by["rollout-0"] == 24
    bench.hear_until(lambda: len(bench.pool._roster.engines) == 1)
    assert bench.serving() == ["rollout-0"]


def test_an_engine_that_does_not_finish_in_time_leaves_its_requests_to_the_others(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, seconds={"rollout-0": 0.01, "rollout-1": 60.0}, leave_timeout_s=0.3)
    bench.ask(0, 6)
    bench.pool.resize(1)
    bench.hear_all()
    assert bench.answered_by() == {"rollout-0": 24}
    bench.hear_until(lambda: len(bench.pool._roster.engines) == 1)


def test_a_leaving_engine_is_called_back_before_another_is_started(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, seconds={"rollout-0": 0.2, "rollout-1": 0.2})
    bench.ask(0, 2)
    bench.pool.resize(1)
    before = [engine.actor for engine in bench.pool._roster.engines]
    bench.pool.resize(2)
    assert [engine.actor for engine in bench.pool._roster.those(EngineState.SERVING)] == before
    bench.ask(2, 6)
    bench.hear_all()
    assert bench.answered_by()["rollout-1"] > 4


def test_an_engine_that_finds_no_device_is_given_up_and_the_pool_stays_as_it_was(make_pool: MakePool) -> None:
    bench = make_pool(seconds={"rollout-0": 0.02}, start_timeout_s=5.0)
    bench.ask(0, 1)
    bench.hear_all()
    # Of four CPUs, one is taken by the placement group; six more engines have room, and no time to start.
    bench.pool._roster._cluster = bench.pool._cluster.model_copy(update={"start_timeout_s": 0.3})
    bench.orders.append(12)
    bench.ask(1, 8)
    bench.hear_until(lambda: any("the run goes on with" in said for said in bench.said))
    bench.hear_all()
    assert bench.said[0] == "rollout actors: 1 -> 12"
    assert "must find devices and start within 0.3 s" in bench.said[1]
    assert bench.serving()[0] == "rollout-0"


def test_orders_are_followed_and_a_mistaken_one_ends_nothing(make_pool: MakePool) -> None:
    bench = make_pool(seconds={"rollout-0": 0.02, "rollout-1": 0.02})
    bench.ask(0, 1)
    bench.hear_all()
    bench.orders.append(2)
    bench.hear_until(lambda: bench.serving() == ["rollout-0", "rollout-1"])
    bench.orders.append(0)
    bench.hear_until(lambda: "a run that generates needs at least 1 rollout actor; asked for 0" in bench.said)
    bench.ask(1, 10)
    bench.hear_all()
    assert set(bench.answered_by()) == {"rollout-0", "rollout-1"}


def test_nothing_is_lost_or_doubled_while_engines_come_and_go_under_load(make_pool: MakePool) -> None:
    bench = make_pool(actors=2, limit=4, seconds={f"rollout-{place}": 0.02 for place in range(4)}, leave_timeout_s=0.05)
    versions = iter(range(1, 1000))
    for index, count in enumerate([1, 3, 1, 2, 3]):
        bench.ask(20 * index, 20)
        bench.pool.resize(count)
        if index % 2:
            bench.pool.pull_weights(a_manifest(next(versions)), keep_kv_cache=False)
        ends_s = time.monotonic() + 0.15
        bench.hear_until(lambda: time.monotonic() > ends_s)  # noqa: B023 - called before the next turn
    bench.hear_all()
    assert len(bench.answers) == 5 * 20 * 4
    bench.hear_until(lambda: len(bench.serving()) == 3 and len(bench.pool._roster.engines) == 3)


def test_sigterm_stays_with_the_run_and_is_not_left_to_ray(cluster_of_four: None) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    assert not getattr(handler, "__module__", "").startswith("ray."), handler


def test_ray_keeps_no_account_of_the_calls_that_an_engine_gets(make_pool: MakePool) -> None:
    bench = make_pool()
    bench.ask(0, 20)
    bench.hear_all()

    @ray.remote(num_cpus=0)
    def accounted() -> None:
        pass

    ray.get(accounted.remote())
    time.sleep(1.5)  # Processes tell of their calls once a second.
    told = {event["name"].rpartition(".")[2] for event in ray.timeline()}
    assert "accounted" in told
    assert not told & {"submit", "poll", "ready"}
