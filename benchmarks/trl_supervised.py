"""Trains one epoch of SFT or DPO with TRL's stock trainer on a workload, and prints its seconds and losses as JSON.

Every setting that affects what is learnt is that of our side. A setting that affects only the speed is a flag, so that
the fastest one can be found (`supervised_against_trl.py`).

    .venv/bin/python benchmarks/trl_supervised.py WORKLOAD_FOLDER --kind sft
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from supervised_workloads import ADAMW, BETA, LEARNING_RATE, MAX_LENGTH, ROWS_PER_STEP, read_rows


def main(options: argparse.Namespace) -> dict[str, Any]:
    """Train and return the measurements. The clock runs from the start of training to the end of its last step."""
    import torch

    torch.set_num_threads(options.threads)
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    class Clock(TrainerCallback):
        """Records the time of each step's end."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            """Record the time; the optimizer has stepped."""
            ended_s.append(time.perf_counter())

    ended_s: list[float] = []
    dtype = torch.bfloat16 if options.precision == "bf16-weights" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(
        options.workload / "model", dtype=dtype, attn_implementation=options.attention
    )
    tokenizer = AutoTokenizer.from_pretrained(options.workload / "model")
    rows = Dataset.from_list(read_rows(options.workload, options.kind))
    trainer = trainer_of(options, model, tokenizer, rows, Clock())
    # Reference log-probabilities are part of training on either side.
    started = time.perf_counter()
    trainer.train()
    seconds = ended_s[-1] - started
    if options.save is not None:
        model.float().save_pretrained(options.save)
        tokenizer.save_pretrained(options.save)
    return {
        "seconds": round(seconds, 3),
        "steps": len(ended_s),
        "losses": [round(entry["loss"], 4) for entry in trainer.state.log_history if "loss" in entry],
    }


def trainer_of(options: argparse.Namespace, model: Any, tokenizer: Any, rows: Any, clock: Any) -> Any:
    """Return an SFTTrainer or a DPOTrainer."""
    common: dict[str, Any] = {
        "output_dir": str(options.workload / "trl"),
        "use_cpu": True,
        "seed": options.seed,
        "bf16": options.precision == "bf16-autocast",
        "per_device_train_batch_size": options.micro_batch,
        "gradient_accumulation_steps": ROWS_PER_STEP // options.micro_batch,
        "num_train_epochs": 1,
        "max_length": MAX_LENGTH,
        "learning_rate": LEARNING_RATE[options.kind],
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "optim": options.optimizer,
        "adam_beta1": ADAMW["betas"][0],
        "adam_beta2": ADAMW["betas"][1],
        "adam_epsilon": ADAMW["eps"],
        "weight_decay": ADAMW["weight_decay"],
        "max_grad_norm": ADAMW["max_grad_norm"],
        "gradient_checkpointing": False,  # TRL's default is True, which is slower.
        "torch_compile": options.compile,
        "dataloader_num_workers": options.data_workers,
        "train_sampling_strategy": options.sampling,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    arguments: dict[str, Any] = {"train_dataset": rows, "processing_class": tokenizer, "callbacks": [clock]}
    if options.kind == "sft":
        from trl.trainer.sft_config import SFTConfig
        from trl.trainer.sft_trainer import SFTTrainer

        return SFTTrainer(
            model=model,
            args=SFTConfig(completion_only_loss=True, padding_free=options.padding_free, **common),
            **arguments,
        )
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    config = DPOConfig(
        beta=BETA,
        loss_type=["sigmoid"],
        precompute_ref_log_probs=options.precompute_reference,
        precompute_ref_batch_size=options.micro_batch,
        **common,
    )
    return DPOTrainer(model=model, args=config, **arguments)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("workload", type=Path)
    made.add_argument("--kind", choices=["sft", "dpo"], required=True)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--save", type=Path, help="where to leave the trained model")
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--micro-batch", type=int, default=8)
    made.add_argument("--precision", choices=["float32", "bf16-autocast", "bf16-weights"], default="float32")
    made.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    made.add_argument("--optimizer", choices=["adamw_torch", "adamw_torch_fused"], default="adamw_torch_fused")
    made.add_argument("--sampling", choices=["random", "group_by_length"], default="random")
    made.add_argument("--padding-free", action="store_true")
    made.add_argument("--precompute-reference", action="store_true")
    made.add_argument("--compile", action="store_true")
    made.add_argument("--data-workers", type=int, default=0)
    return made


if __name__ == "__main__":
    chosen = parser().parse_args()
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)
    print(json.dumps(main(chosen)), flush=True)
