"""Ranks and engines that hang or fail in real Ray actors: what is reported, and what becomes of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from pool_bench import MakePool
from scripted_learner import PartsWithRanks, ScriptedLearnerActor, orders
from small_run import OPTIMIZER, pipeline_of, recipe_document

from rlpost.cluster.actor_stacks import parts_of
from rlpost.cluster.learner_group import LearnerGroup
from rlpost.cluster.placement import Placement
from rlpost.errors import ClusterError, DeadlineError
from rlpost.pipeline.selection import Selection
from rlpost.recipe.schema import ClusterConfig, LearnerRole, RolloutRole, WatchdogConfig
from rlpost.telemetry.stall_report import StallReporter
from rlpost.telemetry.waits import WAITS

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]
MakeGroup = Callable[..., LearnerGroup]
SFT = {"name": "sft", "kind": "sft", "data": ["sums"], "rows_per_step": 4, "steps": 5, "optimizer": OPTIMIZER}
EVERY_STEP = {"learner": {"checkpoint_every": 1}}


@pytest.fixture
def make_group(cluster_of_four: None, tmp_path: Path) -> Iterator[MakeGroup]:
    made: list[tuple[LearnerGroup, Placement]] = []

    def make(order: str, *, ranks: int = 1, on_stall: str = "restart") -> LearnerGroup:
        role = LearnerRole(ranks=ranks, silence_timeout_s=2.0)
        watchdog = WatchdogConfig.model_validate({"on_stall": on_stall})
        cluster = ClusterConfig(name="test", learner=role, rollout=RolloutRole(actors=0), watchdog=watchdog)
        environment, placement = orders(tmp_path / "orders"), Placement(cluster)
        (tmp_path / "orders" / order).touch()
        group = LearnerGroup(cluster, placement, environment=environment, actor_class=ScriptedLearnerActor)
        made.append((group, placement))
        return group

    yield make
    for group, placement in made:
        for actor in group.actors:
            ray.kill(actor)
        ray.util.remove_placement_group(placement._group)


@pytest.fixture
def reports(tmp_path: Path) -> Iterator[list[Any]]:
    """Deadlines that pass are reported; the list takes what is looked at."""
    seen: list[Any] = []
    reporter = StallReporter(
        WAITS,
        folder=tmp_path / "stalls",
        look=lambda: [part for one in seen for part in parts_of(one.seen())],
        say=print,
    )
    WAITS.on_overdue = reporter.report
    yield seen
    WAITS.on_overdue = None


def run_sft(parts: Any, folder: Path) -> dict[str, Any]:
    """A run of one stage of five steps, a checkpoint after each; returns what its model file says."""
    document = recipe_document(folder) | {"stages": [SFT | EVERY_STEP]}
    pipeline_of(document, parts, can_generate=False).execute(Selection(names=("sft",), first=None, last=None))
    return json.loads((folder / "run" / "stages" / "01-sft" / "model" / "weights.json").read_text())


def test_a_rank_that_is_stopped_is_replaced_and_the_run_goes_on_to_the_same_end(
    make_group: MakeGroup, reports: list[Any], tmp_path: Path
) -> None:
    group = make_group("stop_the_last_rank_once", ranks=2)
    reports.append(group)
    parts = PartsWithRanks(group)
    weights = run_sft(parts, tmp_path)
    (error,) = parts.recovered
    assert error.startswith("the learner (step) must answer within 2 s and did not")
    (report,) = (tmp_path / "stalls").iterdir()
    text = report.read_text()
    assert "driver waits for the learner (step): for " in text
    assert "stop_the_last_rank_once" in text

    # The order was carried out: from here on nothing hangs.
    straight = tmp_path / "straight"
    straight.mkdir()
    again = PartsWithRanks(group)
    assert run_sft(again, straight) == weights
    assert again.recovered == []


def test_a_rank_that_hangs_at_the_same_step_again_ends_the_run_with_the_report(
    make_group: MakeGroup, reports: list[Any], tmp_path: Path
) -> None:
    group = make_group("hang_in_a_collective")
    reports.append(group)
    parts = PartsWithRanks(group)
    with pytest.raises(DeadlineError, match="the learner hung twice without getting beyond step 2: ") as caught:
        run_sft(parts, tmp_path)
    assert len(parts.recovered) == 1
    assert caught.value.report is not None and caught.value.report in str(caught.value)
    text = Path(caught.value.report).read_text()
    assert "learner rank 0: at work; process " in text
    assert "hang_in_a_collective" in text and "run_sft" in text


def test_a_rank_that_runs_out_of_memory_counts_as_lost(make_group: MakeGroup, tmp_path: Path) -> None:
    parts = PartsWithRanks(make_group("run_out_of_memory_once"))
    run_sft(parts, tmp_path)
    assert parts.recovered == ["a learner rank failed: MemoryError: 12 GiB"]


def test_an_engine_that_runs_out_of_memory_is_replaced_and_one_with_a_bug_ends_the_run(
    make_pool: MakePool, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    once.touch()
    bench = make_pool(actors=2, limit=4, memory_ends=once)
    bench.ask(0, 4)
    bench.hear_all()
    bench.hear_until(lambda: sorted(bench.serving()) == ["rollout-0", "rollout-1"] and len(bench.said) == 2)
    assert bench.said[0].endswith("(the engine failed: MemoryError: 12 GiB)")
    assert bench.said[1].endswith("serves")

    faulty = make_pool(actors=1, bug=True)
    faulty.ask(0, 1)
    with pytest.raises(ClusterError, match=r"rollout actor rollout-0 failed:[^$]*KeyError: 'loss'"):
        faulty.hear_all()


def test_a_hanging_engine_is_reported_with_its_stack_and_ends_the_run_where_the_file_says_stop(
    make_pool: MakePool, reports: list[Any]
) -> None:
    bench = make_pool(actors=1, silence_timeout_s=1.0, on_stall="stop", hangs=True)
    reports.append(bench.pool)
    bench.ask(0, 1)
    with pytest.raises(
        DeadlineError, match=r"rollout-0 said nothing for 1 s, and watchdog\.on_stall .* is stop"
    ) as caught:
        bench.hear_all()
    assert caught.value.report is not None
    text = Path(caught.value.report).read_text()
    assert "rollout actor rollout-0: serving, 4 requests, silent for " in text
    assert "hang_in_a_forward_pass" in text

    # The same through a task of Ray, as on a node that is not the driver's; and no lock is waited for.
    with bench.pool._lock:
        (part,) = parts_of(bench.pool.seen(), here="another node")
    assert "hang_in_a_forward_pass" in part.stacks


def test_an_engine_that_hangs_at_its_start_can_be_looked_at(make_pool: MakePool, reports: list[Any]) -> None:
    bench = make_pool(actors=1, start_timeout_s=6.0, start_s=60.0)
    reports.append(bench.pool)
    with pytest.raises(DeadlineError, match="the rollout actors must answer within 6 s") as caught:
        bench.ask(0, 1)
    text = Path(caught.value.report or "").read_text()
    assert "driver waits for the rollout actors: for " in text
    assert "rollout actor rollout-0: starting, 0 requests" in text
    assert "ScriptedGenerator.__init__ (" in text
