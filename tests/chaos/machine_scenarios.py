"""Scenarios of the machine: it has no more of something that a run needs, or is shared with others.

A scenario returns what was measured, and asserts the rest, as those of `scenarios` do.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from chaos_world import LIFE_S, ONE, World, ended_like
from disturbed_run import ROOT, DisturbedRun
from machine_verifiers import forks, opens, writes

from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Verifier
from rlpost.scoring.workers import WorkerPool

_RIGHT = [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]
"""Scores of eight samples, of which no shift by one or two is the same."""
_CLAIM = (
    "import sys; from pathlib import Path; from rlpost.pipeline.run_directory import RunDirectory\n"
    "run = RunDirectory(Path(sys.argv[1]))\n"
    "run.claim('mine', fresh=sys.argv[2] == 'fresh'); print('held', flush=True)\n"
    "sys.stdin.readline()"
)


def verifier_without_space(world: World) -> dict[str, Any]:
    """The temporary folder of a verifier is full: no score until it has room again."""
    small = world.folder / "small-tmp"
    small.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)], check=True)
    try:
        filler = small / "filler"
        filler.write_bytes(bytes(4 * 2**20 - 2**16))
        return _scored_once_there_is_room(writes, {"folder": str(small)}, room=filler.unlink)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def verifier_without_descriptors(_: World) -> dict[str, Any]:
    """A verifier may open no more files: no score until it may again."""
    meta = {"files": 32}
    return _scored_once_there_is_room(opens, meta, room=lambda: meta.update(files=512))


def extra_replies(_: World) -> dict[str, Any]:
    """Children that a verifier forked come back from its calls: every sample keeps its own score."""
    pool = WorkerPool(forks, workers=1)
    try:
        for _turn in range(3):
            verdicts = _judged(pool, [{"forks": place % 3 == 0} for place in range(len(_RIGHT))])
            assert [verdict.score for verdict in verdicts] == _RIGHT, verdicts
    finally:
        pool.close()
    return {"recovery_s": [0.0], "steps_done_again": 0}


def another_ray(world: World) -> dict[str, Any]:
    """Ray's folder names another cluster of this machine: the run starts its own and ends with the same bits."""
    place = world.place("another-ray", ONE)
    before = {name: os.environ.pop(name, None) for name in ("RAY_TMPDIR", "RAY_ADDRESS")}
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        tempfile.TemporaryDirectory(dir="/tmp", prefix="ray-", ignore_cleanup_errors=True) as scratch,
    ):
        for folder in (Path(scratch), Path(scratch) / "ray"):
            folder.mkdir(exist_ok=True)
            (folder / "ray_current_cluster").write_text(f"127.0.0.1:{other.getsockname()[1]}")
        os.environ["RAY_TMPDIR"] = scratch
        try:
            with DisturbedRun(place) as run:
                assert run.wait(within_s=LIFE_S) == 0, run.text()[-2000:]
        finally:
            os.environ.pop("RAY_TMPDIR")
            os.environ.update({name: value for name, value in before.items() if value is not None})
        other.settimeout(0.1)
        try:
            other.accept()
        except TimeoutError:
            pass
        else:
            raise AssertionError("the run asked the other cluster")
    ended_like(place, world.reference(ONE))
    return {"recovery_s": [0.0], "steps_done_again": 0}


def same_process_id(world: World) -> dict[str, Any]:
    """Two containers, in each of which the run is process 1, share a folder: one is let in, with --fresh too."""
    folder = world.folder / "same-id"
    shutil.rmtree(folder, ignore_errors=True)
    with _claiming(folder, "plain") as first:
        assert first.stdout is not None and first.stdout.readline() == "held\n", "the first was not let in"
        (folder / "stages").mkdir()
        (folder / "stages" / "work").write_text("kept")
        for how in ("plain", "fresh"):
            with _claiming(folder, how) as second:
                said, _ = second.communicate(timeout=60)
            assert second.returncode != 0 and "held" not in said, f"a second one was let in ({how})"
        assert (folder / "stages" / "work").read_text() == "kept"
        first.communicate("\n", timeout=60)
    return {"recovery_s": [0.0], "steps_done_again": 0}


def _claiming(folder: Path, how: str) -> subprocess.Popen[str]:
    """A process that sees itself as process 1 and holds the run's folder until a line comes."""
    return subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", _CLAIM, str(folder), how],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _scored_once_there_is_room(
    verifier: Verifier, meta: dict[str, Any], *, room: Callable[[], object]
) -> dict[str, Any]:
    """Judge without room, make some, and judge again with the same processes."""
    pool = WorkerPool(verifier, workers=1)
    try:
        without = _judged(pool, [meta] * len(_RIGHT))
        assert {(verdict.fault, verdict.score) for verdict in without} == {(Fault.INFRA, None)}, without
        began = time.monotonic()
        room()
        again = _judged(pool, [meta] * len(_RIGHT))
        assert [verdict.score for verdict in again] == _RIGHT, again
    finally:
        pool.close()
    return {"recovery_s": [round(time.monotonic() - began, 1)], "steps_done_again": 0}


def _judged(pool: WorkerPool, metas: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    samples = [
        Sample(id=str(place), prompt="", response=str(score), gold=None, meta=dict(meta))
        for place, (score, meta) in enumerate(zip(_RIGHT, metas, strict=True))
    ]
    return pool.judge(samples, params={}, timeout_s=20.0)


MACHINE_SCENARIOS = {
    "verifier without disk space": verifier_without_space,
    "verifier without descriptors": verifier_without_descriptors,
    "verifier that forks": extra_replies,
    "another Ray on the machine": another_ray,
    "the same process id in two containers": same_process_id,
}
