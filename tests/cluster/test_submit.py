"""`rlpost submit` against a Ray head started by hand, as its help says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from whole_runs import ROOT, environment, read_json

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]
RAY = str(Path(sys.executable).with_name("ray"))


@pytest.fixture
def head(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Address of the job server, and the environment that start and submit share."""
    home, scratch = tmp_path / "home", Path(f"/tmp/rlpost-head-{os.getpid()}")
    home.mkdir()
    shared = environment() | {"HOME": str(home)}
    port, dashboard = _free_port(), _free_port()
    start = [RAY, "start", "--head", f"--port={port}", f"--dashboard-port={dashboard}", "--num-cpus=4"]
    start += [f"--temp-dir={scratch}", "--node-ip-address=127.0.0.1", "--disable-usage-stats"]
    started = subprocess.run(start, env=shared, capture_output=True, text=True, timeout=120, check=False)
    assert started.returncode == 0, started.stdout + started.stderr
    yield f"http://127.0.0.1:{dashboard}", shared
    for process in psutil.process_iter(["cmdline"]):
        if any(str(scratch) in part for part in process.info["cmdline"] or []):
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def submit(address: str, env: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlpost", "submit", "recipes/smoke.yaml", "--address", address]
    command += ["--cluster", "ray_configs/laptop.yaml", *options]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)


def test_submitted_run_shows_its_table_and_returns_its_exit_code(
    head: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    address, env = head
    output = tmp_path / "run"
    finished = submit(address, env, "--set", f"output={output}", "--set", "stages.grpo.steps=2")
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-2000:]
    assert "held-out scores" in finished.stdout
    assert "grpo 2/2" in finished.stdout
    names = [stage["name"] for stage in read_json(output / "summary.json")["stages"]]
    assert names == ["cpt", "sft", "dpo", "grpo"]

    gated = submit(
        address,
        env,
        "--set",
        f"output={output}",
        "--set",
        "stages.grpo.steps=2",
        "--set",
        'stages.grpo.require={"pass@1": "> 1"}',
    )
    assert gated.returncode != 0
    assert "must reach pass@1 > 1" in gated.stdout
