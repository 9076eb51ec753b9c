"""Faults in the processes of a run at places that a signal from outside cannot be aimed at, such as half of a save.

The program under test is the product itself: what is wrapped here does its work and then, once, kills its process,
writes over a file, or loses a number. A plan is a folder with `plan.json`, a list of faults:

    {"name": "one", "place": "learner.forward", "at": 5, "do": "kill", "times": 1}

A process counts how often it passes each place; at the `at`-th time, and each time after it, the fault is done, until
all processes together have done it `times` times. What was done is written beside the plan, with the time.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOUND: dict[str, Callable[[Any], None]] = {}
"""Module -> what is done to it when it has been imported."""
_passed: Counter[str] = Counter()
_lock = threading.Lock()
_folder = Path()


def install(folder: str) -> None:
    """Wrap the places of the plan as their modules are imported."""
    global _folder  # noqa: PLW0603 - one plan a process
    _folder = Path(folder)
    FOUND.update(
        {
            "rlpost.learner.fsdp_learner": _wrap_learner,
            "rlpost.learner.optimization": _wrap_optimizer,
            "torch.distributed.checkpoint.filesystem": _wrap_saving,
            "rlpost.rollout.vllm_engine": _wrap_engine,
            "rlpost.weight_sync.vllm_shared_memory": _wrap_pull,
        }
    )
    sys.meta_path.insert(0, _AfterImport())


class _AfterImport(importlib.abc.MetaPathFinder):
    """Finds nothing itself: has the others find a module, and adds a last word to its import."""

    def __init__(self) -> None:
        self._busy = threading.local()

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname not in FOUND or getattr(self._busy, "on", False):
            return None
        self._busy.on = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._busy.on = False
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            FOUND[fullname](module)

        loader.exec_module = exec_module
        return spec


def _wrap_learner(module: Any) -> None:
    learner = module.FsdpLearner
    inputs, write, build = learner._outputs, module.write_weight_file, learner.__init__

    def started(self: Any, *arguments: Any, **options: Any) -> None:
        _register("rank")
        build(self, *arguments, **options)

    def loss_inputs(self: Any, view: Any) -> Any:
        lost = _pass("learner.forward", rank=self._rank)
        found = inputs(self, view)
        return found if lost != "nan" else _with_nan(found)

    def write_weight_file(state: Any, path: Path, *, version: int) -> Any:
        manifest = write(state, path, version=version)
        if _pass("learner.wrote_weights") == "corrupt":
            _flip_a_byte(path)
        return manifest

    learner.__init__, learner._outputs, module.write_weight_file = started, loss_inputs, write_weight_file


def _wrap_optimizer(module: Any) -> None:
    update = module.TrainedModel.update

    def updated(self: Any, step: int) -> float:
        rate = update(self, step)
        _pass("learner.optimizer")
        return rate

    module.TrainedModel.update = updated


def _wrap_saving(module: Any) -> None:
    write = module._FileSystemWriter.write_data

    def write_data(self: Any, *arguments: Any, **options: Any) -> Any:
        if _pass("learner.saving") == "fill":
            fill(Path(self.path))
        return write(self, *arguments, **options)

    module._FileSystemWriter.write_data = write_data


def _wrap_engine(module: Any) -> None:
    build, step = module.VllmEngine.__init__, module.VllmEngine.step

    def started(self: Any, *arguments: Any, **options: Any) -> None:
        build(self, *arguments, **options)
        _register("engine")

    def stepped(self: Any) -> Any:
        _pass("engine.step")
        return step(self)

    module.VllmEngine.__init__, module.VllmEngine.step = started, stepped


def _wrap_pull(module: Any) -> None:
    finish = module.WeightFileTransferEngine.finish_weight_update

    def finished(self: Any) -> None:
        _pass("engine.pull")
        finish(self)

    module.WeightFileTransferEngine.finish_weight_update = finished


def _pass(place: str, *, rank: int | None = None) -> str | None:
    """Count, and do what the plan says; returns what the caller is to do."""
    with _lock:
        _passed[place] += 1
    for fault in json.loads((_folder / "plan.json").read_text()):
        wanted = fault["place"] == place and fault.get("rank", rank) == rank
        if wanted and _passed[place] >= fault["at"] and _may_do(fault):
            return _do(fault["do"])
    return None


def _may_do(fault: dict[str, Any]) -> bool:
    """Whether this process is the one that does it now; tells when."""
    for number in range(fault.get("times", 1)):
        try:
            with (_folder / f"done-{fault['name']}-{number}").open("x") as told:
                told.write(json.dumps({"time_s": time.time(), "pid": os.getpid(), "victim": _victim(fault)}))
            return True
        except FileExistsError:
            continue
    return False


def _victim(fault: dict[str, Any]) -> str:
    """The role of what it is done to: the one that it names, or that of its place."""
    match fault["do"].split():
        case [_, "first" | "all", role]:
            return role
        case _:
            return fault["place"].partition(".")[0]


def _do(what: str) -> str | None:
    match what.split():
        case ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["stop"]:
            os.kill(os.getpid(), signal.SIGSTOP)
        case ["kill", "first", role]:
            _kill(role, most=1)
        case ["kill", "all", role]:
            _kill(role, most=None)
        case _:
            return what
    return None


def _register(role: str) -> None:
    (_folder / f"{role}-{os.getpid()}").touch()


def _kill(role: str, *, most: int | None) -> None:
    told = [int(path.name.split("-")[1]) for path in _folder.glob(f"{role}-*")]
    alive = sorted(_verifiers() if role == "verifier" else [pid for pid in told if Path(f"/proc/{pid}").exists()])
    assert alive, f"no {role} of the run is alive"
    for pid in alive[:most]:
        os.kill(pid, signal.SIGKILL)


def _verifiers() -> list[int]:
    """The verifier processes of this run: they are started as programs, in which nothing can be wrapped."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_one = b"rlpost.scoring.worker_main" in (process / "cmdline").read_bytes()
            if is_one and f"RLPOST_CHAOS={_folder}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def _with_nan(outputs: Any) -> Any:
    logprobs_K, values_K = outputs
    return logprobs_K * float("nan"), values_K


def _flip_a_byte(path: Path) -> None:
    with path.open("r+b") as opened:
        opened.seek(path.stat().st_size // 2)
        byte = opened.read(1)[0]
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 0x55]))


def fill(near: Path) -> None:
    """Leave no room on the file system of `near`; only ever on one that is small."""
    room = os.statvfs(near if near.exists() else near.parent)
    assert room.f_blocks * room.f_frsize < 2**30, "the chaos suite fills small file systems only"
    with (_folder / "filler").open("w") as pointer:
        pointer.write(str(near.parent / "filler"))
    with (near.parent / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"\0" * 65536)
        except OSError:
            return
