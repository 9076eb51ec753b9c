"""Runs GRPO by TRL's stock GRPOTrainer on a workload, and prints seconds, rewards and lengths of every step as JSON.

Every setting that affects what is learnt is fixed to that of our side. A setting that affects only the speed is a flag,
so that the fastest one can be found (`trl_settings.py`).

    .venv/bin/python benchmarks/trl_grpo.py WORKLOAD_FOLDER --steps 20
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from workloads import ADAMW, GROUP_SIZE, SAMPLES_PER_STEP, VERIFIER_PARAMS, WORKLOADS


def main(options: argparse.Namespace) -> dict[str, Any]:
    """Train and return the measurements."""
    import torch

    torch.set_num_threads(options.threads)
    if options.flush_denormal:
        torch.set_flush_denormal(True)
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.grpo_trainer import GRPOTrainer

    dtype = torch.bfloat16 if options.precision == "bf16-weights" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(
        options.workload / "model", dtype=dtype, attn_implementation=options.attention
    )
    tokenizer = AutoTokenizer.from_pretrained(options.workload / "model")
    record = StepRecord(samples=SAMPLES_PER_STEP)
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=record.reward,
        args=training_arguments(options),
        train_dataset=Dataset.from_list(rows_in_our_order(options, tokenizer)),
        processing_class=tokenizer,
        callbacks=[step_callback(record)],
    )
    trainer.train()
    if options.save is not None:
        model.float().save_pretrained(options.save)
        tokenizer.save_pretrained(options.save)
    return record.summary(options)


def rows_in_our_order(options: argparse.Namespace, tokenizer: Any) -> list[dict[str, Any]]:
    """Return the prompts as our side issues them with this seed: TRL takes 8 rows per step from the front."""
    from issued_prompts import issued_prompts

    from rlpost.data.chat import ChatFormat

    prompts = issued_prompts(options.workload, ChatFormat(tokenizer), steps=options.steps, seed=options.seed)
    return [
        {
            "prompt": [{"role": message.role, "content": message.content} for message in prompt.messages],
            "gold": prompt.gold,
        }
        for prompt in prompts
    ]


def training_arguments(options: argparse.Namespace) -> Any:
    """Return arguments for GRPO with one optimizer step on 64 samples: clipped surrogate, one mean over tokens, no
    KL.
    """
    from trl.trainer.grpo_config import GRPOConfig

    workload = WORKLOADS[options.workload.name]
    accumulation = SAMPLES_PER_STEP // options.micro_batch
    generation_options: dict[str, Any] = {}
    if options.cache is not None:
        generation_options["cache_implementation"] = options.cache
    if options.continuous_batching:
        blocks = {"num_blocks": 256, "max_batch_tokens": 2048, "use_async_batching": False}
        generation_options |= {
            "use_transformers_continuous_batching": True,
            "transformers_continuous_batching_config": blocks,
        }
    return GRPOConfig(
        output_dir=str(options.workload / "trl"),
        use_cpu=True,
        seed=options.seed,
        bf16=options.precision == "bf16-autocast",
        per_device_train_batch_size=options.micro_batch,
        gradient_accumulation_steps=accumulation,
        steps_per_generation=accumulation,
        num_generations=GROUP_SIZE,
        max_completion_length=workload.max_tokens,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        beta=0.0,
        loss_type="dapo",
        epsilon=0.2,
        scale_rewards="group",
        shuffle_dataset=False,
        learning_rate=workload.learning_rate,
        lr_scheduler_type="constant",
        warmup_steps=0,
        optim=options.optimizer,
        adam_beta1=ADAMW["betas"][0],
        adam_beta2=ADAMW["betas"][1],
        adam_epsilon=ADAMW["eps"],
        weight_decay=ADAMW["weight_decay"],
        max_grad_norm=ADAMW["max_grad_norm"],
        max_steps=options.steps,
        gradient_checkpointing=False,  # TRL's default is True, which is slower.
        torch_compile=options.compile,
        dataloader_num_workers=options.data_workers,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **generation_options,
    )


class StepRecord:
    """The end time and the samples of each step; TRL calls `reward` once per step."""

    def __init__(self, *, samples: int) -> None:
        self._samples = samples
        self.ended_s: list[float] = []
        self._rewards: list[float] = []
        self._lengths: list[list[int]] = []

    def reward(
        self, completions: list[Any], gold: list[str], completion_ids: list[list[int]], **_: Any
    ) -> list[float | None]:
        """Return 1 for a right answer, by the verifier of our side."""
        from rewards.text import exact
        from rlpost.records import Sample

        assert len(completions) == self._samples, f"a step has {self._samples} samples, found {len(completions)}"
        scores: list[float | None] = []
        for completion, answer in zip(completions, gold, strict=True):
            sample = Sample(id="", prompt="", response=completion[0]["content"], gold=answer)
            scores.append(float(exact.judge(sample, params=VERIFIER_PARAMS).score or 0.0))
        self._rewards.append(sum(score or 0.0 for score in scores) / len(scores))
        self._lengths.append([len(ids) for ids in completion_ids])
        return scores

    def summary(self, options: argparse.Namespace) -> dict[str, Any]:
        """Return the seconds between the ends of steps, without the warm-up."""
        ended_s = self.ended_s[options.warmup - 1 :]
        counted = self._lengths[options.warmup : len(self.ended_s)]
        steps = len(ended_s) - 1
        wall_s = ended_s[-1] - ended_s[0]
        return {
            "samples_per_s": round(steps * self._samples / wall_s, 3),
            "step_s": [round(after - before, 4) for before, after in pairwise(ended_s)],
            "steps": steps,
            "rewards": [round(reward, 4) for reward in self._rewards],
            "response_tokens": round(sum(map(sum, counted)) / (steps * self._samples), 1),
            "longest": max(map(max, counted)),
        }


def step_callback(record: StepRecord) -> Any:
    """Make a callback that records the end of each step."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """Records one time per step."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            """Record the time; the optimizer has stepped."""
            record.ended_s.append(time.perf_counter())

    return Clock()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--warmup", type=int, default=3, help="first steps, not counted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="where to leave the trained model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--micro-batch", type=int, default=SAMPLES_PER_STEP)
    parser.add_argument("--precision", choices=["float32", "bf16-autocast", "bf16-weights"], default="float32")
    parser.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    parser.add_argument("--cache", choices=["static", "dynamic"])
    parser.add_argument("--optimizer", choices=["adamw_torch", "adamw_torch_fused"], default="adamw_torch_fused")
    parser.add_argument("--continuous-batching", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--flush-denormal", action="store_true")
    parser.add_argument("--data-workers", type=int, default=0)
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)
    sys.path.insert(0, str(Path(__file__).parents[1]))
    print(json.dumps(main(chosen)), flush=True)
