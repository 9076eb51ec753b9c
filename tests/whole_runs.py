"""Runs of whole recipes on the real parts, each in a process of its own as a user would start it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "recipes" / "smoke.yaml"
RUN = [sys.executable, "-m", "rlpost", "run"]
INTERRUPTIBLE = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)
"""A shell starts background jobs with interrupts ignored, and the tests may be one; a person's run is not.
`execv` keeps the process and its pid.
"""


def run_recipe(recipe: Path, output: Path, *options: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
    """`rlpost run` to its end."""
    return subprocess.run(
        [*RUN, str(recipe), "--set", f"output={output}", *options],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def copy_without(run: Path, output: Path, *stages: str) -> Path:
    """A copy of a finished run in which these stages never ran; `rlpost run` skips the others."""
    shutil.copytree(run, output, symlinks=True)
    for stage in stages:
        shutil.rmtree(output / "stages" / stage)
    return output


def verify_ledger(output: Path) -> str:
    """What `rlpost ledger verify` prints for a run that it finds nothing wrong with."""
    ran = subprocess.run(
        [sys.executable, "-m", "rlpost", "ledger", "verify", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def start_recipe(recipe: Path, output: Path, *options: str, said: Path | None = None) -> subprocess.Popen[str]:
    """`rlpost run` under way, in a process group of its own; what it prints goes to the file `said`."""
    with (said or Path(os.devnull)).open("w") as printed:
        return subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, *RUN, str(recipe), "--set", f"output={output}", *options],
            cwd=ROOT,
            env=environment(),
            stdout=printed,
            stderr=printed,
            text=True,
            start_new_session=True,
        )


def environment() -> dict[str, str]:
    """Without what the tests' own engine settings put there."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "OMP_", "RAY_"))}


def wait_for_line(path: Path, *, lines: int, process: subprocess.Popen[str], timeout_s: float) -> None:
    """Until a file of the running process has this many lines."""
    deadline = time.monotonic() + timeout_s
    while not path.exists() or len(path.read_text().splitlines()) < lines:
        assert process.poll() is None, f"the run ended with {process.returncode} before {path} had {lines} lines"
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)  # It would go on beside the next tests.
            raise AssertionError(f"{path} did not reach {lines} lines in {timeout_s} s")
        time.sleep(0.05)


def end_with(process: subprocess.Popen[str], number: signal.Signals, *, within_s: float) -> float:
    """Send a signal and wait; returns the seconds that it took to end."""
    started = time.monotonic()
    process.send_signal(number)
    process.wait(timeout=within_s)
    return time.monotonic() - started


def parts_of(process: subprocess.Popen[str]) -> set[int]:
    """Its learner ranks, engines and verifier processes; Ray's own servers end by themselves a little later."""
    import psutil

    children = psutil.Process(process.pid).children(recursive=True)
    named = {child.pid: " ".join(child.cmdline()) for child in children}
    ours = ("ray::LearnerActor", "ray::GeneratorActor", "rlpost.scoring.worker_main")
    found = {pid for pid, name in named.items() if any(part in name for part in ours)}
    assert len(found) >= 2, f"a run has a learner and an engine at least, found {named}"
    return found


def open_to_others(process: subprocess.Popen[str]) -> set[str]:
    """What the run's processes, Ray's own among them, listen on for more than this machine."""
    import psutil

    whole = psutil.Process(process.pid)
    listening = {
        (running.name(), place.laddr.ip, place.laddr.port)
        for running in (whole, *whole.children(recursive=True))
        for place in running.net_connections("inet")
        if place.status == psutil.CONN_LISTEN or (place.type == socket.SOCK_DGRAM and not place.raddr)
    }
    assert len(listening) >= 5, f"Ray's servers listen somewhere, found {listening}"
    return {f"{name} on {host}:{port}" for name, host, port in listening if not _is_loopback(host)}


def _is_loopback(host: str) -> bool:
    address = ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def still_alive(pids: set[int], *, after_s: float) -> set[int]:
    """Those of the pids that run on for longer than this."""
    import psutil

    deadline = time.monotonic() + after_s
    alive = pids
    while alive and time.monotonic() < deadline:
        alive = {pid for pid in alive if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"}
        time.sleep(0.1)
    return alive


def read_json(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text())


def records(path: Path) -> list[dict[str, float]]:
    """The lines of a metrics file without what depends on the clock."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith(("time/", "tokens_", "engines/"))} for row in rows]
