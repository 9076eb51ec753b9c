"""A run of a recipe in a process of its own that is watched from outside: what it says and when, how far it got."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
INJECT = Path(__file__).parent / "inject"
RUN = [sys.executable, "-m", "rlpost", "run"]
LOOK_EVERY_S = 0.05


class Line(NamedTuple):
    """What the run said, and when."""

    time_s: float
    text: str


class Seen(NamedTuple):
    """How many steps the stage's records had, and when that was seen."""

    time_s: float
    steps: int


@dataclass
class Place:
    """The files of one scenario: its recipe, its cluster file, the run's folder, the plan of its faults."""

    folder: Path
    recipe: dict[str, Any]
    cluster: dict[str, Any]
    output: Path

    @classmethod
    def fresh(
        cls, folder: Path, recipe: dict[str, Any], cluster: dict[str, Any], *, output: Path | None = None
    ) -> Place:
        """An empty folder; the run's folder is in it, unless it is to be elsewhere."""
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "plan").mkdir(parents=True)
        place = cls(folder, recipe, cluster, output or folder / "run")
        place.plan([])
        (folder / "recipe.yaml").write_text(json.dumps({**recipe, "output": str(place.output)}))
        (folder / "cluster.yaml").write_text(json.dumps(cluster))
        return place

    def plan(self, faults: list[dict[str, Any]]) -> None:
        """What is to go wrong from now on."""
        beside = self.folder / "plan" / "writing-plan.json"
        beside.write_text(json.dumps(faults))
        beside.rename(beside.with_name("plan.json"))

    def fault_times(self, *, of_engines: bool = False) -> list[float]:
        """When the planned faults were done, in order; where asked, those alone that were done to engines."""
        done = [json.loads(path.read_text()) for path in (self.folder / "plan").glob("done-*")]
        return sorted(one["time_s"] for one in done if not of_engines or one["victim"] == "engine")

    @property
    def stage(self) -> Path:
        """The folder of the one stage, finished or not."""
        final = self.output / "stages" / "01-grpo"
        return final if final.exists() else final.with_name("01-grpo.partial")

    def records(self) -> list[dict[str, float]]:
        """Whole lines of metrics.jsonl."""
        try:
            lines = (self.stage / "metrics.jsonl").read_text().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line.endswith("\n")]


@dataclass
class DisturbedRun:
    """One life of `rlpost run`; as a context manager it leaves no process behind."""

    place: Place
    options: tuple[str, ...] = ()
    said: list[Line] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def __enter__(self) -> DisturbedRun:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "OMP_", "RAY_"))}
        paths = [str(INJECT), str(ROOT), *kept.get("PYTHONPATH", "").split(os.pathsep)]
        folder = self.place.folder
        self.process = subprocess.Popen(
            [*RUN, str(folder / "recipe.yaml"), "--cluster", str(folder / "cluster.yaml"), *self.options],
            cwd=ROOT,
            env=kept | {"RLPOST_CHAOS": str(folder / "plan"), "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._listen, self._look)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait(timeout=30)
        for thread in self._threads:
            thread.join(timeout=30)
        with (self.place.folder / "said.txt").open("a") as log:
            log.writelines(f"{line.time_s:.2f} {line.text}\n" for line in self.said)

    def signal(self, number: signal.Signals) -> None:
        """To the driver alone."""
        self.process.send_signal(number)

    def wait(self, *, within_s: float) -> int:
        """Its exit code."""
        try:
            return self.process.wait(timeout=within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the run did not end within {within_s:g} s; it said last: {self.text()[-500:]}"
            ) from None

    def await_steps(self, steps: int, *, within_s: float) -> None:
        """Until so many steps are recorded."""
        until_s = time.monotonic() + within_s
        while len(self.place.records()) < steps:
            assert self.process.poll() is None, f"the run ended with {self.process.returncode}: {self.text()[-800:]}"
            assert time.monotonic() < until_s, f"{steps} steps were not there after {within_s:g} s"
            time.sleep(LOOK_EVERY_S)

    def text(self) -> str:
        """All that was said."""
        return "\n".join(line.text for line in self.said)

    def first_said(self, words: str, *, after_s: float) -> float | None:
        """When these words were said."""
        return next((line.time_s for line in self.said if words in line.text and line.time_s >= after_s), None)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(Line(time.time(), line.rstrip("\n")))

    def _look(self) -> None:
        while self.process.poll() is None:
            steps = len(self.place.records())
            if not self.seen or self.seen[-1].steps != steps:
                self.seen.append(Seen(time.time(), steps))
            time.sleep(LOOK_EVERY_S)
        self.seen.append(Seen(time.time(), len(self.place.records())))


def recovery_s(seen: list[Seen], *, fault_s: float) -> float | None:
    """From a fault to the first step beyond those that were there at the fault; None if there was none."""
    before = max((look.steps for look in seen if look.time_s <= fault_s), default=0)
    return next(
        (round(look.time_s - fault_s, 1) for look in seen if look.time_s > fault_s and look.steps > before), None
    )


def steps_done_again(seen: list[Seen]) -> int:
    """Steps whose records were taken back, because they came after the checkpoint that was gone on from."""
    most = again = 0
    for look in seen:
        again += max(0, most - look.steps)
        most = look.steps if look.steps < most else max(most, look.steps)
    return again
