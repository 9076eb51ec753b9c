"""`rlpost submit` against a Ray head started by hand, as its help says."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from small_run import recipe_document
from whole_runs import ROOT, copy_without, environment, read_json, records

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]
STEPS = 20
RAY = str(Path(sys.executable).with_name("ray"))


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """Address of the job server, and the environment that start and submit share."""
    home, scratch = tmp_path_factory.mktemp("home"), Path(f"/tmp/rlpost-head-{os.getpid()}")
    shared = environment() | {"HOME": str(home)}
    port, dashboard, agent = _free_port(), _free_port(), _free_port()
    start = [RAY, "start", "--head", f"--port={port}", f"--dashboard-port={dashboard}", "--num-cpus=4"]
    # Without an agent, whose usual port any other Ray of this machine holds, the head takes no job.
    start += [f"--dashboard-agent-listen-port={agent}"]
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
    head: tuple[str, dict[str, str]], smoke_run: Path, tmp_path: Path
) -> None:
    address, env = head
    output = copy_without(smoke_run, tmp_path / "run", "04-grpo")
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
    assert gated.returncode == 3
    assert "must reach pass@1 > 1" in gated.stdout


def test_a_killed_driver_is_submitted_again_and_its_run_goes_on(
    head: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    address, env = head
    recipe, said, output = one_stage(tmp_path), tmp_path / "said.txt", tmp_path / "run"
    (tmp_path / "cluster.yaml").write_text("name: learner\nrollout: {actors: 0}\n")
    command = [sys.executable, "-m", "rlpost", "submit", str(recipe), "--address", address, "--retry", "1"]
    command += ["--cluster", str(tmp_path / "cluster.yaml")]
    with said.open("w") as printed:
        going_on = subprocess.Popen(command, cwd=ROOT, env=env, stdout=printed, stderr=printed)
    checkpoints = output / "stages" / "01-sft.partial" / "checkpoints"
    deadline_s = time.monotonic() + 120
    while not list(checkpoints.glob("step-*")):
        assert going_on.poll() is None and time.monotonic() < deadline_s, said.read_text()
        time.sleep(0.02)
    os.kill(int((output / "lock").read_text().split()[1]), signal.SIGKILL)
    assert going_on.wait(timeout=180) == 0, said.read_text()

    told = said.read_text()
    assert "was killed by SIGKILL (exit code 137); submitted again in 5 s: attempt 2, retry 1 of 1" in told
    assert told.count("sft: starting") == 1
    assert told.count("sft: resuming") == 1
    assert "ray job stop --address" in told and "RAY_JOB_STOP_WAIT_TIME_S" in told
    assert told.rstrip().endswith("finished")
    assert [step["step"] for step in records(output / "stages" / "01-sft" / "metrics.jsonl")] == list(range(STEPS))


def one_stage(folder: Path) -> Path:
    """A recipe that needs no engine and saves after every step."""
    document = recipe_document(folder)
    document |= {"stages": document["stages"][:1], "evaluate": None, "rewards": None}
    document["stages"][0] |= {"steps": STEPS, "learner": {"checkpoint_every": 1}}
    (folder / "recipe.yaml").write_text(json.dumps(document))
    return folder / "recipe.yaml"
