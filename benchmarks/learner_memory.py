"""Compares a learner's peak memory with the formula in `rlpost/recipe/memory.py`, for three sizes.

Each size runs in its own process. The measured figure is the kernel's high-water mark of resident memory during
optimizer steps, minus the memory before the model was built, which includes the libraries in use. The process returns
every freed tensor to the system at once (MALLOC_MMAP_THRESHOLD_), because memory that malloc keeps for later is not
needed by the learner.

    .venv/bin/python benchmarks/learner_memory.py
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rlpost.recipe.memory import MOST_LOGITS, ModelShape, learner_memory
from rlpost.train_records import TrainBatch, TrainRow, one_component

if TYPE_CHECKING:
    from rlpost.learner.local import LocalLearner

ROW_LENGTH = 128
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}
MEBIBYTE = 2**20


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model, with its training settings."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    vocabulary: int
    tied: bool
    compute_dtype: Literal["float32", "bfloat16"]
    micro_batch_tokens: int
    activation_checkpointing: bool

    def config(self) -> dict[str, Any]:
        """Arguments of a Qwen3 config; heads are 64 wide."""
        return {
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "head_dim": 64,
            "vocab_size": self.vocabulary,
            "tie_word_embeddings": self.tied,
        }

    def shape(self) -> ModelShape:
        """The model's shape for the formula."""
        return ModelShape(
            layers=self.layers,
            hidden=self.hidden,
            intermediate=self.intermediate,
            query_width=64 * self.heads,
            key_value_width=64 * self.key_value_heads,
            vocabulary=self.vocabulary,
            tied=self.tied,
            query_key_norm=True,
        )


CASES = {
    "3M": Case(
        layers=4, hidden=256, intermediate=512, heads=4, key_value_heads=2, vocabulary=512, tied=True,
        compute_dtype="float32", micro_batch_tokens=2048, activation_checkpointing=False,
    ),
    "20M": Case(
        layers=6, hidden=512, intermediate=1408, heads=8, key_value_heads=4, vocabulary=4096, tied=True,
        compute_dtype="bfloat16", micro_batch_tokens=1024, activation_checkpointing=False,
    ),
    "60M": Case(
        layers=8, hidden=768, intermediate=2048, heads=12, key_value_heads=4, vocabulary=8192, tied=False,
        compute_dtype="bfloat16", micro_batch_tokens=1024, activation_checkpointing=True,
    ),
}  # fmt: skip

LARGEST_DEVIATION = 0.15


def main() -> None:
    """Measure every case, and print one JSON object."""
    results: dict[str, Any] = {}
    for name in CASES:
        process = subprocess.run(
            [sys.executable, __file__, name], env=os.environ | ENVIRONMENT, check=True, capture_output=True, text=True
        )
        results[name] = json.loads(process.stdout.splitlines()[-1])
    ratios = [result["predicted_over_measured"] for result in results.values()]
    furthest = round(max(abs(ratio - 1) for ratio in ratios), 3)
    bar = {"bar": LARGEST_DEVIATION, "measured": furthest, "met": furthest <= LARGEST_DEVIATION}
    print(json.dumps({"sizes": results, "bars": {"peak memory, formula off by": bar}}, indent=2))


def measure(case: Case) -> dict[str, Any]:
    """Return the predicted and the measured peak of this process."""
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    import torch.distributed as dist

    from rlpost.losses.cross_entropy import CrossEntropy

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    # A small learner first, so that code and buffers of libraries are not counted as the model's.
    build_learner(CASES["3M"]).step(batch_of(CASES["3M"]), CrossEntropy())
    gc.collect()
    before = resident_bytes("VmRSS")
    learner = build_learner(case)
    parameters = sum(weight.numel() for weight in learner.rank._policy.module.parameters())  # pyright: ignore[reportPrivateUsage] nobody else needs the count
    learner.step(batch_of(case), CrossEntropy())
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # The high-water mark starts anew.
    learner.step(batch_of(case), CrossEntropy())
    measured = resident_bytes("VmHWM") - before
    predicted = learner_memory(
        case.shape(),
        optimizer_numbers=2,
        ranks=1,
        compute_dtype=case.compute_dtype,
        device="cpu",
        micro_batch_tokens=case.micro_batch_tokens,
        most_logits=MOST_LOGITS,
        activation_checkpointing=case.activation_checkpointing,
        reference=False,
        critic=False,
        adapter_parameters=None,
    )
    return {
        "parameters": parameters,
        "measured_mib": round(measured / MEBIBYTE, 1),
        "predicted_mib": round(predicted.total / MEBIBYTE, 1),
        "predicted_over_measured": round(predicted.total / measured, 3),
        "terms_mib": {name: round(term / MEBIBYTE, 1) for name, term in asdict(predicted).items()},
    }


def build_learner(case: Case) -> LocalLearner:
    """Build a learner with random weights."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from rlpost.learner.local import LocalLearner
    from rlpost.learner.process_group import join_process_group
    from rlpost.recipe.optimizer import OptimizerConfig
    from rlpost.recipe.sections import LearnerConfig
    from rlpost.settings import LearnerSettings

    with tempfile.TemporaryDirectory() as model_dir:
        Qwen3ForCausalLM(Qwen3Config(**case.config())).save_pretrained(model_dir)
        settings = LearnerSettings(
            model_dir=model_dir,
            model_dtype="float32",
            trust_remote_code=False,
            device="cpu",
            threads=2,
            total_steps=10,
            optimizer=OptimizerConfig(learning_rate=1e-4),
            learner=LearnerConfig(
                micro_batch_tokens=case.micro_batch_tokens,
                activation_checkpointing=case.activation_checkpointing,
                compute_dtype=case.compute_dtype,
            ),
            lora=None,
            head="language_model",
            critic=None,
            dropout=False,
            keep_reference=False,
            seed=0,
            deterministic=False,
        )
        return LocalLearner(settings, join_process_group("cpu", timeout_s=60.0, store=None))


def batch_of(case: Case) -> TrainBatch:
    """Make two full micro-batches of rows in which every token except the first is scored."""
    random = np.random.default_rng(0)
    weights_T = np.ones(ROW_LENGTH, np.float32)
    weights_T[0] = 0
    rows = [
        TrainRow(token_ids=random.integers(0, case.vocabulary, ROW_LENGTH).astype(np.int32), weights_T=weights_T)
        for _ in range(2 * case.micro_batch_tokens // ROW_LENGTH)
    ]
    return TrainBatch.of(rows, components=one_component("tokens", float(len(rows) * (ROW_LENGTH - 1))))


def resident_bytes(line: Literal["VmRSS", "VmHWM"]) -> int:
    """Return this process's memory as counted by the kernel."""
    for text in Path("/proc/self/status").read_text().splitlines():
        if text.startswith(f"{line}:"):
            return 1024 * int(text.split()[1])
    raise OSError(f"/proc/self/status must have a line {line}; this benchmark needs Linux")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="?", choices=list(CASES), help="run this one in this process")
    chosen: str | None = parser.parse_args().case
    if chosen is None:
        main()
    else:
        print(json.dumps(measure(CASES[chosen])), flush=True)
        os._exit(0)
