"""A learner under torchrun, on a machine without ray, vllm, trl and the data libraries."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from learner_ranks import free_port
from tiny_models import save_tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

REPOSITORY = Path(__file__).parents[2]
TIMEOUT_S = 180
ABSENT = ("ray", "vllm", "trl", "datasets", "reasoning_gym", "math_verify", "peft")

BLOCKER = f"""
import sys

class Without:
    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            return None
        return self._finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self._finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""

RECIPE = """
name: small
output: {output}
model:
  path: {model}
  max_length: 96
  dtype: float32
data:
  documents:
    source: jsonl:{folder}/documents.jsonl
  answers:
    source: jsonl:{folder}/answers.jsonl
stages:
  - name: cpt
    kind: cpt
    data: [documents]
    rows_per_step: 4
    steps: 3
    optimizer: {{learning_rate: 1e-3}}
  - name: sft
    kind: sft
    data: [answers]
    rows_per_step: 3
    steps: 3
    optimizer: {{learning_rate: {sft_learning_rate}}}
    learner: {{micro_batch_tokens: 96, checkpoint_every: 1}}
"""


def write_inputs(folder: Path, *, sft_learning_rate: str = "1e-3") -> Path:
    save_tiny_model(folder / "model", tied=True, seed=6)
    documents = [{"text": f"{number} plus one is {number + 1}."} for number in range(12)]
    answers = [{"prompt": f"{number} + 1 =", "response": str(number + 1)} for number in range(12)]
    for name, rows in (("documents", documents), ("answers", answers)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "absent").mkdir()
    (folder / "absent" / "sitecustomize.py").write_text(BLOCKER)
    recipe = folder / "small.yaml"
    recipe.write_text(
        RECIPE.format(output=folder / "run", model=folder / "model", folder=folder, sft_learning_rate=sft_learning_rate)
    )
    return recipe


def run_under_torchrun(folder: Path, recipe: Path, *, ranks: int) -> subprocess.CompletedProcess[str]:
    command, environment = under_torchrun(folder, recipe, ranks=ranks)
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def under_torchrun(folder: Path, recipe: Path, *, ranks: int) -> tuple[list[str], dict[str, str]]:
    """The command and its environment."""
    path = os.pathsep.join([str(folder / "absent"), str(REPOSITORY)])
    environment = {**os.environ, "PYTHONPATH": path, "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}"]
    command += [f"--master-port={free_port()}", "--master-addr=127.0.0.1"]
    command += ["-m", "rlpost", "run", str(recipe), "--cluster", str(REPOSITORY / "ray_configs" / "torchrun.yaml")]
    return command, environment


@pytest.mark.parametrize("ranks", [1, 2])
def test_supervised_stages_run_where_ray_and_vllm_are_not_installed(tmp_path: Path, ranks: int) -> None:
    finished = run_under_torchrun(tmp_path, write_inputs(tmp_path), ranks=ranks)
    assert finished.returncode == 0, finished.stderr
    model_dirs = sorted(path.parent for path in (tmp_path / "run").rglob("model.safetensors"))
    assert len(model_dirs) == 3, "the base and two stages"
    weights = [AutoModelForCausalLM.from_pretrained(path).state_dict() for path in model_dirs]
    for before, after in pairwise(weights):
        assert not torch.equal(before["lm_head.weight"], after["lm_head.weight"])
    assert AutoTokenizer.from_pretrained(model_dirs[-1]).eos_token_id == 1


def test_the_block_really_hides_the_libraries(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "absent")}
    for name in ABSENT:
        tried = subprocess.run(
            [sys.executable, "-c", f"import {name}"], env=environment, capture_output=True, text=True, check=False
        )
        assert f"No module named '{name}'" in tried.stderr


def test_an_error_of_the_learner_is_what_the_person_reads(tmp_path: Path) -> None:
    recipe = write_inputs(tmp_path, sft_learning_rate="1e30")
    finished = run_under_torchrun(tmp_path, recipe, ranks=2)
    assert finished.returncode != 0
    # Once, from rank 0, and no rank with a traceback of its own; the one at the end is torchrun's.
    assert finished.stderr.count("the loss and its gradient must be finite") == 1
    assert "[rank" not in finished.stderr


def test_sigterm_to_torchrun_saves_the_step_under_way_on_all_ranks(tmp_path: Path) -> None:
    recipe = write_inputs(tmp_path)
    text = recipe.read_text()
    recipe.write_text(text.replace("steps: 3\n", "steps: 100000\n"))
    command, environment = under_torchrun(tmp_path, recipe, ranks=2)
    metrics = tmp_path / "run" / "stages" / "01-cpt.partial" / "metrics.jsonl"
    with (tmp_path / "said.txt").open("w") as said:
        running = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=said, stderr=said)
        try:
            deadline_s = time.monotonic() + TIMEOUT_S
            while not metrics.exists() or metrics.read_text().count("\n") < 3:
                assert running.poll() is None and time.monotonic() < deadline_s, (tmp_path / "said.txt").read_text()
                time.sleep(0.05)
            running.send_signal(signal.SIGTERM)
            assert running.wait(timeout=60) != 0
        finally:
            running.kill()
    told = (tmp_path / "said.txt").read_text()
    (stopped,) = re.findall(r"stopped after step (\d+) of 100000, as SIGTERM asked for; the same command goes on", told)
    checkpoints = sorted((metrics.parent / "checkpoints").glob("step-*"))
    assert [path.name for path in checkpoints] == [f"step-{int(stopped):08d}"]
    assert metrics.read_text().count("\n") == int(stopped)


ENDS_WHILE_A_TENSOR_GOES = """
import threading, time, weakref
import torch
import torch.distributed as dist
from rlpost.cli.main import app
from rlpost.learner.torchrun import start_rank

def take_long():
    if threading.current_thread() is not threading.main_thread():
        time.sleep(0.5)

rank = start_rank("cpu", timeout_s=60)
for _ in range(200):
    tensor = torch.zeros(1)
    weakref.finalize(tensor, take_long).atexit = False
    dist.broadcast(tensor, src=0, async_op=True)
    del tensor
app(["no-such-command"])
"""


def test_a_thread_of_the_group_that_still_lets_go_of_a_tensor_leaves_the_exit_code_as_it_is(tmp_path: Path) -> None:
    """Cut off by the end of the interpreter it would abort the process."""
    one_rank = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-c", ENDS_WHILE_A_TENSOR_GOES]
    ended = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **one_rank}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2, ended.stderr
    assert "No such command 'no-such-command'" in ended.stderr


def test_without_torchrun_the_command_says_how_to_start_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rlpost", "run", str(write_inputs(tmp_path))]
    command += ["--cluster", str(REPOSITORY / "ray_configs" / "torchrun.yaml")]
    environment = {name: value for name, value in os.environ.items() if name != "RANK"}
    finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "torchrun --nproc-per-node 2 -m rlpost run" in finished.stderr
