"""What goes wrong in each scenario of the chaos suite, and what must hold afterwards.

Most runs are deterministic: disturbed or not, they must end with the same bits. A scenario returns what was measured,
and asserts the rest.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos_world import (
    ASYNCHRONOUS,
    CHECKPOINT_EVERY,
    LIFE_S,
    ONE,
    PREEMPTED,
    STEPS,
    TWO_ENGINES,
    TWO_RANKS,
    World,
    ended_like,
    fault,
    ledger_verifies,
    measured,
    outlives,
    without_clock,
)
from disturbed_run import DisturbedRun, Place, Seen, recovery_s, steps_done_again
from machine_scenarios import MACHINE_SCENARIOS

LONG: dict[str, Any] = {"steps": 60}
"""Longer than a new engine takes to serve, where the other one goes on meanwhile."""
DRIVER_STEPS = 80
"""More than twenty short lives finish."""


def engine_killed_idle(world: World) -> dict[str, Any]:
    """While the learner trains, when a synchronous engine has nothing to do."""
    return outlives(world, "engine-idle", ONE, [fault("learner.forward", 5, "kill first engine")], engine=True)


def engine_killed_mid_generation(world: World) -> dict[str, Any]:
    """Between two of its steps, with responses half done; the other engine answers for it."""
    return outlives(world, "engine-generating", TWO_ENGINES, [fault("engine.step", 90)], engine=True, **LONG)


def engine_killed_mid_weight_pull(world: World) -> dict[str, Any]:
    """Between loading new weights and serving them."""
    return outlives(world, "engine-pulling", TWO_ENGINES, [fault("engine.pull", 5)], engine=True, **LONG)


def engine_killed_twice(world: World) -> dict[str, Any]:
    """The one engine, and the one that took its place as soon as that generates."""
    faults = [fault("engine.step", 90), fault("engine.step", 5, name="again", times=1)]
    faults[1]["times"], faults[0]["name"] = 1, "first"
    place = world.place("engine-twice", ONE)
    place.plan(faults[:1])
    with DisturbedRun(place) as run:
        wait_until(lambda: len(place.fault_times()) == 1, run)
        place.plan(faults)
        assert run.wait(within_s=LIFE_S) == 0, run.text()[-2000:]
    assert len(place.fault_times()) == 2, "the second engine was not killed"
    ended_like(place, world.reference(ONE))
    return measured(place, run.seen, run, serves=" serves")


def all_engines_killed(world: World) -> dict[str, Any]:
    """Both at once."""
    faults = [fault("learner.forward", 5, "kill all engine")]
    return outlives(world, "engines-all", TWO_ENGINES, faults, engine=True, **LONG)


def engine_stopped(world: World) -> dict[str, Any]:
    """SIGSTOP: alive, and silent for longer than it may be."""
    cluster = {**ONE, "rollout": {**ONE["rollout"], "silence_timeout_s": 4}}
    return outlives(
        world, "engine-stopped", cluster, [fault("engine.step", 90, "stop")], engine=True, says="said nothing for 4 s"
    )


def rank_killed(place: str, at: int) -> Callable[[World], dict[str, Any]]:
    """A rank of two dies at a place; both start again from the last checkpoint."""

    def scenario(world: World) -> dict[str, Any]:
        name = f"rank-{place.partition('.')[2]}"
        says = "all ranks start again from the last checkpoint"
        return outlives(world, name, TWO_RANKS, [fault(place, at)], says=says)

    return scenario


def rank_stopped(world: World) -> dict[str, Any]:
    """SIGSTOP of a learner rank for longer than its deadline."""
    cluster = {**TWO_RANKS, "learner": {**TWO_RANKS["learner"], "silence_timeout_s": 8}}
    says = "all ranks start again from the last checkpoint"
    return outlives(world, "rank-stopped", cluster, [fault("learner.forward", 8, "stop", rank=1)], says=says)


def driver_killed(world: World, *, times: int, seed: int) -> dict[str, Any]:
    """kill -9 of the driver at random moments, in starting up too, and the same command again each time."""
    stage: dict[str, Any] = {"steps": DRIVER_STEPS, "learner": {"checkpoint_every": 1}}
    place, dice = world.place("driver", ONE, **stage), random.Random(seed)
    seen: list[Seen] = []
    for life in range(times):
        with DisturbedRun(place) as run:
            time.sleep(dice.uniform(1.0, 18.0))
            ended = run.process.poll()
            run.signal(signal.SIGKILL)
        seen += run.seen
        assert ended is None, f"the run ended with {ended} before kill {life + 1}: {run.text()[-2000:]}"
    killed_s = seen[-1].time_s
    with DisturbedRun(place) as run:
        assert run.wait(within_s=LIFE_S) == 0, run.text()[-2000:]
    ended_like(place, world.reference(ONE, **stage))
    seen += run.seen
    return {
        "recovery_s": [recovery_s(seen, fault_s=killed_s)],
        "steps_done_again": steps_done_again(seen),
        "kills": times,
    }


def verifier_killed(what: str) -> Callable[[World], dict[str, Any]]:
    """One verifier process, or all of them, from outside, while samples wait to be judged."""

    def scenario(world: World) -> dict[str, Any]:
        faults = [fault("engine.step", 90, f"kill {what} verifier")]
        return outlives(world, f"verifiers-{what}", TWO_ENGINES, faults)

    return scenario


def disk_full(world: World) -> dict[str, Any]:
    """No room while a checkpoint is written: told as that; with room again the run goes on from the one before."""
    small = world.folder / "small-disk"
    small.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(small)], check=True)
    try:
        place = world.place("disk", ONE, output=small / "run")
        place.plan([fault("learner.saving", 2, "fill")])
        with DisturbedRun(place) as first:
            code = first.wait(within_s=LIFE_S)
        assert code == 1, f"exit code {code}: {first.text()[-1500:]}"
        assert "the disk must have room for what a run writes" in first.text(), first.text()[-1500:]
        Path((place.folder / "plan" / "filler").read_text()).unlink()
        with DisturbedRun(place) as second:
            assert second.wait(within_s=LIFE_S) == 0, second.text()[-2000:]
        assert "grpo: resuming" in second.text()
        ended_like(place, world.reference(ONE))
        return measured(place, [*first.seen, *second.seen])
    finally:
        subprocess.run(["umount", str(small)], check=True)


def checkpoint_damaged(how: str) -> Callable[[World], dict[str, Any]]:
    """The newest checkpoint is cut short, or a byte in it changes; the one before it is gone on from."""

    def scenario(world: World) -> dict[str, Any]:
        place = world.place(f"checkpoint-{how}", ONE)
        with DisturbedRun(place) as first:
            first.await_steps(2 * CHECKPOINT_EVERY + 2, within_s=LIFE_S)
            first.signal(signal.SIGKILL)
        newest = sorted((place.stage / "checkpoints").glob("step-*"))[-1]
        largest = max(newest.rglob("*.distcp"), key=lambda path: path.stat().st_size)
        content = bytearray(largest.read_bytes())
        if how == "truncated":
            del content[len(content) // 2 :]
        else:
            content[len(content) // 2] ^= 0x55
        largest.write_bytes(content)
        fault_s = time.time()
        with DisturbedRun(place) as second:
            assert second.wait(within_s=LIFE_S) == 0, second.text()[-2000:]
        assert f"checkpoint {newest.name} is passed over" in second.text(), second.text()[-1500:]
        ended_like(place, world.reference(ONE))
        seen = [*first.seen, *second.seen]
        return {"recovery_s": [recovery_s(seen, fault_s=fault_s)], "steps_done_again": steps_done_again(seen)}

    return scenario


def told_to_stop(world: World) -> dict[str, Any]:
    """SIGTERM under load: the step under way is saved, exit code 75, and the same command goes on from it."""
    place = world.place("sigterm", ONE)
    with DisturbedRun(place) as first:
        first.await_steps(5, within_s=LIFE_S)
        told_s = time.time()
        first.signal(signal.SIGTERM)
        code = first.wait(within_s=60)
        grace_s = round(time.time() - told_s, 1)
    assert code == PREEMPTED, f"exit code {code}: {first.text()[-1500:]}"
    with DisturbedRun(place) as second:
        assert second.wait(within_s=LIFE_S) == 0, second.text()[-2000:]
    ended_like(place, world.reference(ONE))
    seen = [*first.seen, *second.seen]
    assert steps_done_again(seen) == 0, "a step was done again although it was saved"
    return {"recovery_s": [recovery_s(seen, fault_s=told_s)], "steps_done_again": 0, "grace_s": grace_s}


def weights_damaged(world: World) -> dict[str, Any]:
    """A published weight file changes before the engines read it; no engine serves it."""
    faults = [fault("learner.wrote_weights", 6, "corrupt")]
    return outlives(world, "weights", ONE, faults, says="the stage goes on from its last checkpoint")


def loss_not_finite(world: World) -> dict[str, Any]:
    """One step's loss is not a number: the step is left out, its samples are named, the run goes on."""
    place = world.place("nan", ONE)
    place.plan([fault("learner.forward", 6, "nan")])
    with DisturbedRun(place) as run:
        assert run.wait(within_s=LIFE_S) == 0, run.text()[-2000:]
    assert "a step is left out, 1 in a row of 3 at most" in run.text(), run.text()[-1500:]
    ledger_verifies(place)
    records = place.records()
    assert [record["skipped_steps"] for record in records] == [float(step == 5) for step in range(STEPS)]
    before = without_clock(world.reference(ONE))[:5]
    assert without_clock(place)[:5] == before, "the steps before it differ"
    return measured(place, run.seen)


def loss_never_finite(world: World) -> dict[str, Any]:
    """More steps in a row than the recipe lets pass: the run ends with the samples' names; the same command goes on."""
    place = world.place("nan-stop", ONE, learner={"max_skipped_steps": 1})
    place.plan([fault("learner.forward", 6, "nan", times=2)])
    with DisturbedRun(place) as first:
        code = first.wait(within_s=LIFE_S)
    assert code == 1, f"exit code {code}: {first.text()[-1500:]}"
    assert "step 2 in a row, and learner.max_skipped_steps lets 1 be left out" in first.text()
    assert "chain_sum" in first.text() or "sums/" in first.text(), "no sample is named"
    with DisturbedRun(place) as second:
        assert second.wait(within_s=LIFE_S) == 0, second.text()[-2000:]
    ended_like(place, world.reference(ONE))
    return measured(place, [*first.seen, *second.seen])


def asynchronous(world: World) -> dict[str, Any]:
    """Rollouts up to four versions ahead; an engine dies in mid-generation and the learner in a forward pass."""
    stage = {**ASYNCHRONOUS, **LONG}
    plain = [world.world_run(f"async-plain-{turn}", TWO_ENGINES, stage.copy()) for turn in range(3)]
    place = world.place("async", TWO_ENGINES, **stage)
    place.plan([fault("engine.step", 120), fault("learner.forward", 8)])
    with DisturbedRun(place) as run:
        assert run.wait(within_s=LIFE_S) == 0, run.text()[-2000:]
    totals = {ledger_verifies(each).replace(str(each.output), "") for each in [place, *plain]}
    trained = {text.partition("trained")[0] for text in totals}
    assert len(trained) == 1, f"the ledgers of disturbed and undisturbed runs differ: {totals}"
    rewards = [late_reward(each) for each in plain]
    low, high = min(rewards) - NOISE, max(rewards) + NOISE
    assert low <= late_reward(place) <= high, f"reward {late_reward(place)} outside {low} to {high}"
    band = {"reward": round(late_reward(place), 3), "band": [round(low, 3), round(high, 3)]}
    return {**measured(place, run.seen, run, serves=" serves"), **band}


NOISE = 0.08
"""Two standard errors of a difference of mean rewards over 6 steps of 128 samples, samples of a prompt not being
independent."""


def late_reward(place: Place) -> float:
    """Mean over the last six steps."""
    last = [record["reward"] for record in place.records()[-6:]]
    return sum(last) / len(last)


def other_ranks(world: World) -> dict[str, Any]:
    """Killed on two learner ranks, and gone on with on one."""
    place = world.place("other-ranks", TWO_RANKS)
    with DisturbedRun(place) as first:
        first.await_steps(CHECKPOINT_EVERY + 2, within_s=LIFE_S)
        first.signal(signal.SIGKILL)
    killed_s = time.time()
    (place.folder / "cluster.yaml").write_text(json.dumps(ONE))
    with DisturbedRun(place) as second:
        assert second.wait(within_s=LIFE_S) == 0, second.text()[-2000:]
    assert "grpo: resuming" in second.text()
    ledger_verifies(place)
    one, other = without_clock(place), without_clock(world.reference(TWO_RANKS))
    assert one[:CHECKPOINT_EVERY] == other[:CHECKPOINT_EVERY]
    gaps = [abs(a["loss"] - b["loss"]) for a, b in zip(one[:6], other[:6], strict=True)]
    assert max(gaps) < 1e-3, f"losses on one rank differ from those on two: {gaps}"
    seen = [*first.seen, *second.seen]
    return {"recovery_s": [recovery_s(seen, fault_s=killed_s)], "steps_done_again": steps_done_again(seen)}


def wait_until(holds: Callable[[], bool], run: DisturbedRun) -> None:
    """While the run goes on."""
    until_s = time.monotonic() + LIFE_S
    while not holds():
        assert run.process.poll() is None and time.monotonic() < until_s, run.text()[-1500:]
        time.sleep(0.05)


SCENARIOS: dict[str, Callable[[World], dict[str, Any]]] = {
    "engine killed: idle": engine_killed_idle,
    "engine killed: mid-generation": engine_killed_mid_generation,
    "engine killed: mid-weight-pull": engine_killed_mid_weight_pull,
    "engine killed: twice in a row": engine_killed_twice,
    "engine killed: all at once": all_engines_killed,
    "engine stopped for longer than its deadline": engine_stopped,
    "learner rank killed: in forward": rank_killed("learner.forward", 8),
    "learner rank killed: in the optimizer step": rank_killed("learner.optimizer", 8),
    "learner rank killed: while saving": rank_killed("learner.saving", 2),
    "learner rank stopped for longer than its deadline": rank_stopped,
    "verifier worker killed": verifier_killed("first"),
    "scoring pool killed": verifier_killed("all"),
    "disk full during a save": disk_full,
    "newest checkpoint truncated": checkpoint_damaged("truncated"),
    "newest checkpoint corrupted": checkpoint_damaged("corrupted"),
    "SIGTERM under load": told_to_stop,
    "weights with another checksum": weights_damaged,
    "loss not finite: skipped": loss_not_finite,
    "loss not finite: stopped": loss_never_finite,
    "asynchronous: engine and learner killed": asynchronous,
    "resumed on another number of ranks": other_ranks,
    **MACHINE_SCENARIOS,
    "driver killed at 20 random moments": lambda world: driver_killed(world, times=20, seed=int(time.time())),
}
