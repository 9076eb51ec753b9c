"""Which engine gets which request, without any engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_engine import a_group, a_manifest

from rlpost.cluster.dispatch import Dispatcher
from rlpost.cluster.engine import Engine, EngineState
from rlpost.cluster.engine_roster import current_manifests
from rlpost.engine_records import EngineLoad, WeightManifest
from rlpost.records import GenerationRequest


def an_engine(place: int, *, limit: int) -> Engine:
    load = EngineLoad(
        generator=f"rollout-{place}",
        limit=limit,
        running=0,
        waiting=0,
        kv_cache_use=0.0,
        preemptions=0,
        tokens=0,
        busy_s=0.0,
        version=0,
    )
    return Engine(place=place, actor=None, call=None, state=EngineState.SERVING, load=load)


def groups(count: int, *, samples: int = 4, first: int = 0) -> list[GenerationRequest]:
    return [request for index in range(first, first + count) for request in a_group(index, samples=samples)]


def places(dispatcher: Dispatcher, engines: Sequence[Engine]) -> dict[int, int]:
    """Index of a prompt -> the engine that it went to; each prompt whole."""
    given: dict[int, set[int]] = {}
    for engine, requests in dispatcher.assign(engines):
        for request in requests:
            given.setdefault(int(request.key[0].partition(":")[0]), set()).add(engine.place)
    assert all(len(engine_places) == 1 for engine_places in given.values())
    return {index: engine_places.pop() for index, engine_places in given.items()}


def test_groups_go_where_most_room_is_left() -> None:
    dispatcher = Dispatcher(deterministic=False)
    dispatcher.add(groups(6))
    small, large = an_engine(0, limit=4), an_engine(1, limit=12)
    assert places(dispatcher, [small, large]) == {0: 1, 1: 1, 2: 0, 3: 1, 4: 0, 5: 1}
    assert (len(small.in_flight), len(large.in_flight)) == (8, 16)


def test_an_engine_gets_its_limit_and_one_group_of_backlog_and_the_rest_waits() -> None:
    dispatcher = Dispatcher(deterministic=False)
    engine = an_engine(0, limit=8)
    dispatcher.add(groups(5))
    assert list(places(dispatcher, [engine])) == [0, 1, 2]
    assert places(dispatcher, [engine]) == {}
    del engine.in_flight["0:sums/0", 0]
    assert places(dispatcher, [engine]) == {}
    for sample in range(1, 4):
        del engine.in_flight["0:sums/0", sample]
    assert list(places(dispatcher, [engine])) == [3]


def test_urgent_requests_overtake_what_waits_and_need_no_room() -> None:
    dispatcher = Dispatcher(deterministic=False)
    engine = an_engine(0, limit=4)
    dispatcher.add(groups(4))
    assert list(places(dispatcher, [engine])) == [0, 1]
    dispatcher.add([replace(request, urgent=True) for request in groups(2, samples=1, first=90)])
    assert list(places(dispatcher, [engine])) == [90, 91]
    assert len(engine.in_flight) == 4 + 4 + 2
    assert places(dispatcher, [engine]) == {}, "the others still wait, in their order"
    engine.in_flight.clear()
    assert list(places(dispatcher, [engine])) == [2, 3]


def test_a_group_above_the_limit_is_given_to_an_idle_engine() -> None:
    dispatcher = Dispatcher(deterministic=False)
    dispatcher.add(groups(2, samples=16))
    engine = an_engine(0, limit=1)
    assert list(places(dispatcher, [engine])) == [0]


def test_nothing_is_given_out_without_an_engine() -> None:
    for deterministic in (True, False):
        dispatcher = Dispatcher(deterministic=deterministic)
        dispatcher.add(groups(1))
        assert dispatcher.assign([]) == []
        assert places(dispatcher, [an_engine(0, limit=4)]) == {0: 0}


def test_deterministic_routing_follows_the_index_whatever_room_there_is() -> None:
    engines = [an_engine(2, limit=1), an_engine(0, limit=100), an_engine(1, limit=1)]
    whole = Dispatcher(deterministic=True)
    whole.add(groups(9))
    routed = places(whole, engines)
    assert routed == {index: index % 3 for index in range(9)}

    resumed = Dispatcher(deterministic=True)
    resumed.add(groups(4, first=5))
    fresh = [an_engine(place, limit=1) for place in range(3)]
    assert places(resumed, fresh) == {index: routed[index] for index in range(5, 9)}


def test_deterministic_routing_counts_where_keys_have_no_index() -> None:
    dispatcher = Dispatcher(deterministic=True)
    request = a_group(0, samples=1)[0]
    for name in ("a", "b:1", "c"):
        dispatcher.add(
            [
                GenerationRequest(
                    key=(name, 0), prompt_token_ids=request.prompt_token_ids, sampling=request.sampling, seed=1
                )
            ]
        )
    engines = [an_engine(place, limit=4) for place in range(2)]
    dispatcher.assign(engines)
    assert [[key[0] for key in engine.in_flight] for engine in engines] == [["a", "c"], ["b:1"]]


def test_what_is_put_back_goes_first_in_its_order() -> None:
    dispatcher = Dispatcher(deterministic=False)
    dispatcher.add(groups(1, first=7))
    dispatcher.put_back(groups(2))
    (assignment,) = dispatcher.assign([an_engine(0, limit=100)])
    assert [request.key[0].partition(":")[0] for request in assignment.requests[::4]] == ["0", "1", "7"]


@settings(max_examples=60, deadline=None)
@given(
    limits=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    data=st.data(),
)
def test_every_request_is_given_out_once_and_no_engine_beyond_its_room(
    limits: list[int], sizes: list[int], data: st.DataObject
) -> None:
    dispatcher = Dispatcher(deterministic=False)
    engines = [an_engine(place, limit=limit) for place, limit in enumerate(limits)]
    issued = [request for index, size in enumerate(sizes) for request in a_group(index, samples=size)]
    dispatcher.add(issued)
    given_out: list[tuple[str, int]] = []
    while len(given_out) < len(issued):
        for engine, requests in dispatcher.assign(engines):
            given_out += [request.key for request in requests]
            assert len(engine.in_flight) <= limits[engine.place] + max(sizes)
        busy = [engine for engine in engines if engine.in_flight]
        assert busy, "requests wait although no engine has any"
        finishing = data.draw(st.sampled_from(busy))
        for key in list(finishing.in_flight)[: data.draw(st.integers(1, len(finishing.in_flight)))]:
            del finishing.in_flight[key]
    assert sorted(given_out) == sorted(request.key for request in issued)


def test_a_new_engine_pulls_the_last_whole_model_and_the_last_adapter_on_it() -> None:
    def adapter(version: int) -> WeightManifest:
        full = a_manifest(version)
        return WeightManifest(
            version=version, path=full.path, checksum=full.checksum, tensor_count=1, byte_count=1, kind="adapter"
        )

    held: tuple[WeightManifest, ...] = ()
    seen: list[list[int]] = []
    for pulled in (adapter(1), adapter(2), a_manifest(3), adapter(4), adapter(5), a_manifest(6)):
        held = current_manifests(held, pulled)
        seen.append([manifest.version for manifest in held])
    assert seen == [[1], [2], [3], [3, 4], [3, 5], [6]]
