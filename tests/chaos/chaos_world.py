"""What the scenarios of the chaos suite share: clusters, the recipe, undisturbed runs, what must hold at the end."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from disturbed_run import ROOT, DisturbedRun, Place, Seen, recovery_s, steps_done_again

PREEMPTED = 75
"""Exit code of a run that stopped as it was told to, with a checkpoint."""
STEPS, CHECKPOINT_EVERY = 14, 3
LIFE_S = 240.0
"""Longest life of one run."""
ONE: dict[str, Any] = {"name": "one", "learner": {"ranks": 1, "threads": 2}, "rollout": {"actors": 1, "threads": 2}}
TWO_ENGINES: dict[str, Any] = {
    "name": "two-engines",
    "learner": {"ranks": 1, "threads": 1},
    "rollout": {"actors": 2, "threads": 1},
    "scoring": {"workers": 2},
}
TWO_RANKS: dict[str, Any] = {
    "name": "two-ranks",
    "learner": {"ranks": 2, "threads": 1, "max_restarts": 6},
    "rollout": {"actors": 1, "threads": 1},
}
ASYNCHRONOUS = {"max_staleness": 4}


@dataclass
class World:
    """What the scenarios share: a trained start, a folder, and one undisturbed run for each kind of run."""

    folder: Path
    model: Path
    undisturbed: dict[str, Place] = field(default_factory=dict)

    def place(self, name: str, cluster: dict[str, Any], *, output: Path | None = None, **stage: Any) -> Place:
        """A scenario's own folder."""
        recipe = recipe_of(self.model, stage)
        return Place.fresh(self.folder / name, recipe, cluster, output=output)

    def reference(self, cluster: dict[str, Any], **stage: Any) -> Place:
        """The undisturbed run that a disturbed one of this kind is compared with; made once."""
        kind = json.dumps([cluster["name"], stage], sort_keys=True)
        if kind not in self.undisturbed:
            self.undisturbed[kind] = self.world_run(f"undisturbed-{len(self.undisturbed)}", cluster, stage)
        return self.undisturbed[kind]

    def world_run(self, name: str, cluster: dict[str, Any], stage: dict[str, Any]) -> Place:
        """One run without faults, to its end."""
        place = self.place(name, cluster, **stage)
        with DisturbedRun(place) as run:
            assert run.wait(within_s=LIFE_S) == 0, run.text()[-2000:]
        return place


def recipe_of(model: Path, stage: dict[str, Any]) -> dict[str, Any]:
    """GRPO on two-digit sums, deterministic where it is synchronous."""
    learner = {"checkpoint_every": CHECKPOINT_EVERY, **stage.pop("learner", {})}
    return {
        "name": "chaos",
        "seed": 0,
        "deterministic": stage.get("max_staleness", 0) == 0,
        "model": {"path": str(model), "max_length": 160, "dtype": "float32"},
        "data": {
            "sums": {
                "source": "reasoning_gym:chain_sum",
                "params": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2},
                "rows": 1000,
                "seed": 5,
            }
        },
        "rewards": {"routes": {"*": {"verifier": "math.equivalent"}}},
        "stages": [
            {
                "name": "grpo",
                "kind": "grpo",
                "data": ["sums"],
                "steps": STEPS,
                "prompts_per_step": 16,
                "samples_per_prompt": 8,
                "sampling": {"temperature": 1.0, "max_tokens": 48},
                "optimizer": {"learning_rate": 5e-5},
                "learner": learner,
                **stage,
            }
        ],
    }


def weights(place: Place) -> bytes:
    """The trained model."""
    return (place.stage / "model" / "model.safetensors").read_bytes()


def without_clock(place: Place) -> list[dict[str, float]]:
    """What of the records must repeat."""
    return [
        {name: value for name, value in record.items() if not name.startswith(("time/", "tokens_", "engines/"))}
        for record in place.records()
    ]


def ledger_verifies(place: Place) -> str:
    """What `rlpost ledger verify` says of the run."""
    ended = subprocess.run(
        [sys.executable, "-m", "rlpost", "ledger", "verify", str(place.output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.strip()


def ended_like(place: Place, reference: Place) -> None:
    """Same weights, same records, no prompt lost and none trained twice."""
    ledger_verifies(place)
    assert without_clock(place) == without_clock(reference), "the records differ from those of an undisturbed run"
    assert weights(place) == weights(reference), "the weights differ from those of an undisturbed run"


def measured(place: Place, seen: list[Seen], run: DisturbedRun | None = None, *, serves: str = "") -> dict[str, Any]:
    """Seconds from each fault to the next new step, from an engine's until a new one served; steps done again."""
    times = place.fault_times()
    assert times, "the fault was never done"
    found: dict[str, Any] = {
        "recovery_s": [recovery_s(seen, fault_s=fault_s) for fault_s in times],
        "steps_done_again": steps_done_again(seen),
    }
    if run is not None and serves:
        times = place.fault_times(of_engines=True)
        assert times, "no engine was disturbed"
        served = [run.first_said(serves, after_s=fault_s) for fault_s in times]
        assert all(served), f"no new engine served: {run.text()[-1500:]}"
        found["serves_again_s"] = [round(at - fault, 1) for at, fault in zip(served, times, strict=True) if at]
    return found


def outlives(
    world: World,
    name: str,
    cluster: dict[str, Any],
    faults: list[dict[str, Any]],
    *,
    engine: bool = False,
    says: str = "",
    **stage: Any,
) -> dict[str, Any]:
    """One life of a run in which these faults happen, and which ends as if they had not."""
    place = world.place(name, cluster, **stage)
    place.plan(faults)
    with DisturbedRun(place) as run:
        assert run.wait(within_s=LIFE_S) == 0, run.text()[-2000:]
    assert says in run.text(), f"{says!r} was not said: {run.text()[-1500:]}"
    ended_like(place, world.reference(reference_of(cluster), **stage))
    return measured(place, run.seen, run, serves=" serves" if engine else "")


def reference_of(cluster: dict[str, Any]) -> dict[str, Any]:
    """The plain cluster file of this name: deadlines do not change what is computed."""
    return {"one": ONE, "two-engines": TWO_ENGINES, "two-ranks": TWO_RANKS}[cluster["name"]]


def fault(place: str, at: int, do: str = "kill", **more: Any) -> dict[str, Any]:
    """One entry of a plan."""
    return {"name": f"{place}-{at}-{do.replace(' ', '-')}", "place": place, "at": at, "do": do, **more}
