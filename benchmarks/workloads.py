"""The benchmarked workloads: two sizes of model x two shapes of answers, each with a model that really gives such
answers.

A workload is a folder: `model/` (trained here by SFT on `demonstrations.jsonl`), `prompts.jsonl` (for RL),
`held_out.jsonl`, and `sampled.json` (lengths and accuracy of the model's answers). Preparing one takes minutes; a
finished one is reused.

    .venv/bin/python benchmarks/workloads.py FOLDER [--only even-3m ...]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlpost.platform.processor import has_bfloat16_kernels

ROOT = Path(__file__).parents[1]
GROUPS_PER_STEP, GROUP_SIZE = 8, 8
SAMPLES_PER_STEP = GROUPS_PER_STEP * GROUP_SIZE
VERIFIER, VERIFIER_PARAMS = "text.exact", {"where": "last_boxed", "on_many": "reject"}
"""The verifier of both sides: the text in the last box must be the gold."""
ADAMW: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0}
"""AdamW settings for RL, on both sides."""
WRONG_SHARE = 0.45
"""Share of demonstrations whose boxed answer has a wrong digit, which leaves RL something to learn."""
FASTER_FORMAT = "bfloat16" if has_bfloat16_kernels() else "float32"
"""Format of matrix products on our side and for making workloads: bfloat16 only on processors that support it."""
DEMONSTRATIONS, PROMPTS, HELD_OUT = 12_000, 4_000, 512

SHAPES: dict[str, dict[str, int]] = {
    "3m": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4},
    "50m": {"hidden_size": 768, "intermediate_size": 2304, "num_hidden_layers": 7, "num_attention_heads": 12},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """One size of model and one shape of answers."""

    size: Literal["3m", "50m"]
    answers: Literal["even", "long"]

    @property
    def name(self) -> str:
        """Its name, for example `even-3m`, which is also the name of its folder."""
        return f"{self.answers}-{self.size}"

    @property
    def max_tokens(self) -> int:
        """Longest answer, including the end token."""
        return 48 if self.answers == "even" else 512

    @property
    def max_length(self) -> int:
        """Longest prompt and answer together."""
        return self.max_tokens + 48

    @property
    def digits(self) -> int:
        """Number of digits of the numbers to add: long answers think first, and therefore need fewer columns."""
        return 3 if self.answers == "even" else 2

    @property
    def learning_rate(self) -> float:
        """Learning rate of RL, on both sides, at which all sides learn; at 1e-4 and up to 4 versions of staleness,
        answers grew without bound.
        """
        return 2e-5


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(size="3m", answers="even"),
        Workload(size="3m", answers="long"),
        Workload(size="50m", answers="even"),
        Workload(size="50m", answers="long"),
    )
}


def prepared(workload: Workload, folder: Path) -> Path:
    """Return the workload's folder under `folder`; make it if it does not exist."""
    place = folder / workload.name
    if not (place / "sampled.json").exists():
        place.mkdir(parents=True, exist_ok=True)
        write_rows(workload, place)
        train(workload, place)
        measure_answers(workload, place)
    return place


def write_rows(workload: Workload, place: Path) -> None:
    """Write demonstrations, prompts for RL and held-out prompts as JSON lines; no problem occurs in two of them."""
    from rlpost.data.sources import open_examples
    from rlpost.data.tables.cache import DataCache
    from rlpost.recipe.sections import DataConfig

    digits = {"min_terms": 2, "max_terms": 2, "min_digits": workload.digits, "max_digits": workload.digits}
    source = DataConfig(
        source="reasoning_gym:chain_sum",
        rows=2 * (DEMONSTRATIONS + PROMPTS + HELD_OUT),
        seed=11,
        params=digits,
        solution="rlpost.data.worked_solutions:column_steps",
    )
    examples = {
        example.question: example for example in open_examples("sums", source, cache=DataCache(place / "cache"))
    }
    dice = random.Random(7)
    rows: list[dict[str, str]] = []
    for question, example in examples.items():
        solution = with_wrong_digit(str(example.response), dice) if dice.random() < WRONG_SHARE else example.response
        thought = countdown(thinking_tokens(dice)) if workload.answers == "long" else ""
        prompt = question.rpartition(":")[2].strip()
        rows.append({"prompt": prompt, "response": f"{thought}{solution}", "gold": str(example.gold)})
    held_out, prompts, demonstrations = rows[:HELD_OUT], rows[HELD_OUT:][:PROMPTS], rows[HELD_OUT + PROMPTS :]
    assert len(demonstrations) > DEMONSTRATIONS // 4, f"too few different problems: {len(rows)}"
    write_jsonl(place / "held_out.jsonl", held_out)
    write_jsonl(place / "prompts.jsonl", prompts)
    write_jsonl(place / "demonstrations.jsonl", demonstrations[:DEMONSTRATIONS])


def thinking_tokens(dice: random.Random) -> int:
    """Lognormal: median 18, mean about 40, cut off where the answer would not fit into 512 tokens."""
    return min(480, round(dice.lognormvariate(math.log(18), 1.25)))


def countdown(tokens: int) -> str:
    """`12,11,10,...,1,`: a thought of about this many tokens, a digit or a comma each; its start says its length."""
    number = spent = 0
    while spent + len(str(number + 1)) + 1 <= tokens:
        number += 1
        spent += len(str(number)) + 1
    return "".join(f"{count}," for count in range(number, 0, -1))


def with_wrong_digit(solution: str, dice: random.Random) -> str:
    """The solution with another last digit in its box."""
    head, digit = solution[:-2], int(solution[-2])
    return f"{head}{(digit + dice.randrange(1, 10)) % 10}}}"


def train(workload: Workload, place: Path) -> None:
    """SFT from random weights by `rlpost run`; leaves `model/`."""
    write_json(place / "sft.yaml", sft_recipe(workload, place))
    run_rlpost(place / "sft.yaml", cluster=ROOT / "ray_configs" / "laptop.yaml")
    (place / "sft-run" / "stages" / "01-sft" / "model").rename(place / "model")


def sft_recipe(workload: Workload, place: Path) -> dict[str, Any]:
    """Make an SFT recipe; the large model gets fewer and smaller steps, because each takes seconds."""
    small = workload.size == "3m"
    return {
        "name": "workload",
        "output": str(place / "sft-run"),
        "model": {
            "config": {
                "model_type": "qwen3",
                "num_key_value_heads": 4,
                "head_dim": 64,
                "tie_word_embeddings": True,
                **SHAPES[workload.size],
            },
            "tokenizer": {"data": ["demonstrations"], "vocab_size": 320},
            "chat_template": "rlpost:plain",
            "max_length": workload.max_length,
            "dtype": "float32",
        },
        "data": {"demonstrations": {"source": f"jsonl:{place / 'demonstrations.jsonl'}"}},
        "stages": [
            {
                "name": "sft",
                "kind": "sft",
                "data": ["demonstrations"],
                "rows_per_step": 64 if small else 32,
                "steps": 500 if small else 250,
                "optimizer": {
                    "learning_rate": 1e-3 if small else 4e-4,
                    "schedule": "linear",
                    "warmup_ratio": 0.05,
                    "min_ratio": 0.05,
                },
                "learner": {"compute_dtype": FASTER_FORMAT, "micro_batch_tokens": 4096, "checkpoint_every": 10_000},
            }
        ],
    }


def measure_answers(workload: Workload, place: Path) -> None:
    """Write `sampled.json`: lengths and accuracy of the model's answers, as RL will find them."""
    command = [sys.executable, str(ROOT / "benchmarks" / "held_out.py"), str(place / "model"), str(place)]
    ended = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    answers = json.loads(ended.stdout.splitlines()[-1])
    longest = answers["tokens"]["max"]
    assert longest <= workload.max_tokens, f"an answer of {longest} tokens, past the limit"
    write_json(place / "sampled.json", answers)


def run_rlpost(recipe: Path, *, cluster: Path, overrides: Sequence[str] = ()) -> None:
    """Run `rlpost run` from the start; its output goes to `<recipe>.log`."""
    command = [sys.executable, "-m", "rlpost", "run", str(recipe), "--cluster", str(cluster), "--fresh"]
    command += [part for override in overrides for part in ("--set", override)]
    log = recipe.with_suffix(".log")
    with log.open("w") as output:
        ended = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {ended.returncode}: {log.read_text()[-2000:]}")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read all rows of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write one row per line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write indented JSON; a recipe may be JSON, because JSON is YAML."""
    path.write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=sorted(WORKLOADS), default=sorted(WORKLOADS))
    options = parser.parse_args()
    for name in options.only:
        place = prepared(WORKLOADS[name], options.folder.resolve())
        print(name, (place / "sampled.json").read_text(), flush=True)
