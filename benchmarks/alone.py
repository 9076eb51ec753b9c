"""Runs generation alone and training alone, each as in a run; `against_limit.py` compares a run with them.

    .venv/bin/python benchmarks/alone.py generation WORKLOAD_FOLDER ROLLOUTS --steps 20 --threads 2 --ahead 0
    .venv/bin/python benchmarks/alone.py training WORKLOAD_FOLDER ROLLOUTS --steps 20 --threads 2

`generation` samples the answers that a run with constant weights samples: same prompts, order and seeds. With `--ahead
0`, the next step's answers begin when a step's 64 answers are finished, as in a synchronous run; with `--ahead k`,
answers of k more steps are in progress. It writes the answers to the file ROLLOUTS, and `training` learns from them,
one batch per step.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from issued_prompts import issued_prompts
from one_engine import chat_of, sampling_of, start_engine
from rlpost_grpo import grpo_recipe
from workloads import (
    GROUP_SIZE,
    GROUPS_PER_STEP,
    SAMPLES_PER_STEP,
    VERIFIER_PARAMS,
    WORKLOADS,
    read_jsonl,
    write_jsonl,
)

from rewards.text import exact
from rlpost.recipe.schema import Recipe
from rlpost.recipe.stages import GrpoStage
from rlpost.records import Completion, Prompt, RolloutGroup, Sample, VersionSpan
from rlpost.rollout.episodes import single_turn

if TYPE_CHECKING:
    from rlpost.interfaces import Generator, Learner
    from rlpost.records import GenerationRequest


def generation(options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds for the answers of each step."""
    workload = WORKLOADS[options.workload.name]
    generator = start_engine(options.workload / "model", workload, threads=options.threads, dtype=options.dtype)
    waiting = requests_in_order(options)
    generator.submit(list(islice(waiting, SAMPLES_PER_STEP * (1 + options.ahead))))
    rollouts: list[Completion] = []
    ended_s: list[float] = []
    while len(rollouts) < options.steps * SAMPLES_PER_STEP:
        finished = generator.poll(10.0)
        rollouts += finished
        if options.ahead:
            generator.submit(list(islice(waiting, len(finished))))
        elif len(rollouts) % SAMPLES_PER_STEP == 0 and finished:
            generator.submit(list(islice(waiting, SAMPLES_PER_STEP)))
        steps_done = len(rollouts) // SAMPLES_PER_STEP
        ended_s += [time.perf_counter()] * (steps_done - len(ended_s))
    answers = answers_in_order(rollouts, generator, steps=options.steps)
    write_jsonl(options.rollouts, [record_of(rollout) for rollout in answers])
    lengths = [len(rollout.token_ids) for rollout in answers[options.warmup * SAMPLES_PER_STEP :]]
    return step_times(ended_s, warmup=options.warmup) | {"response_tokens": round(float(np.mean(lengths)), 1)}


def answers_in_order(rollouts: list[Completion], generator: Generator, *, steps: int) -> list[Completion]:
    """Return all answers to the prompts of these steps, by prompt. The wait for the longest ones is not timed: without
    them, training would get too few answers and too short ones.
    """
    wanted = range(steps * GROUPS_PER_STEP)
    while True:
        answers = [rollout for rollout in rollouts if int(rollout.key[0]) in wanted]
        if len(answers) == steps * SAMPLES_PER_STEP:
            return sorted(answers, key=lambda rollout: (int(rollout.key[0]), rollout.key[1]))
        rollouts += generator.poll(10.0)


def requests_in_order(options: argparse.Namespace) -> Iterator[GenerationRequest]:
    """Yield requests with a run's seeds; there are enough to keep the engine as full at the end as before."""
    from rlpost.records import GenerationRequest
    from rlpost.rollout.collector import request_seed

    chat = chat_of(options.workload / "model")
    sampling = sampling_of(WORKLOADS[options.workload.name], chat)
    prompts = issued_prompts(options.workload, chat, steps=options.steps + 1 + options.ahead, seed=options.seed)
    for index, prompt in enumerate(prompts):
        for sample in range(GROUP_SIZE):
            yield GenerationRequest(
                key=(str(index), sample),
                prompt_token_ids=prompt.token_ids,
                sampling=sampling,
                seed=request_seed(f"{options.seed}/grpo", index, prompt.id, sample),
            )


def record_of(rollout: Completion) -> dict[str, Any]:
    """Convert to JSON."""
    return {
        "key": rollout.key,
        "token_ids": rollout.token_ids.tolist(),
        "logprobs": [float(logprob) for logprob in rollout.logprobs_T],
        "finish": rollout.finish,
        "text": rollout.text,
        "seconds": rollout.seconds,
    }


def rollout_of(record: dict[str, Any]) -> Completion:
    """Convert from JSON."""
    token_ids = np.array(record["token_ids"], np.int32)
    return Completion(
        key=(record["key"][0], record["key"][1]),
        token_ids=token_ids,
        logprobs_T=np.array(record["logprobs"], np.float32),
        version_spans=(VersionSpan(start=0, stop=len(token_ids), version=0),),
        finish=record["finish"],
        text=record["text"],
        seconds=record["seconds"],
    )


def training(options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds for one optimizer step on 64 answers, including advantages and packing."""
    from rlpost.stages.rl.batch import advantage_for, train_batches
    from rlpost.stages.rl.loop import loss_of

    recipe = Recipe.model_validate(grpo_recipe(options, options.rollouts.parent))
    (stage,) = recipe.stages
    assert isinstance(stage, GrpoStage)
    learner, loss = build_learner(options, stage), loss_of(stage)
    groups, advantage = recorded_groups(options), advantage_for(stage)
    ended_s: list[float] = []
    tokens: list[int] = []
    for first in range(0, options.steps * GROUPS_PER_STEP, GROUPS_PER_STEP):
        batches = train_batches(
            groups[first : first + GROUPS_PER_STEP],
            learner,
            stage,
            columns=loss.columns,
            advantage=advantage,
            version=0,
            seed=options.seed,
        )
        tokens.append(sum(learner.step(batch, loss).tokens for _, batch in batches))
        ended_s.append(time.perf_counter())
    trained = float(np.mean(tokens[options.warmup :]))
    return step_times(ended_s, warmup=options.warmup) | {"trained_tokens_per_step": round(trained, 1)}


def build_learner(options: argparse.Namespace, stage: GrpoStage) -> Learner:
    """Build the run's learner, with a single rank in this process."""
    import torch.distributed as dist

    from rlpost.learner.local import LocalLearner
    from rlpost.learner.process_group import join_process_group
    from rlpost.settings import LearnerSettings

    meeting = options.rollouts.with_suffix(".ranks").resolve()
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=0, world_size=1)
    settings = LearnerSettings(
        model_dir=str(options.workload / "model"),
        model_dtype=options.dtype,
        trust_remote_code=False,
        device="cpu",
        threads=options.threads,
        total_steps=options.steps,
        optimizer=stage.optimizer,
        learner=stage.learner,
        lora=None,
        head="language_model",
        critic=None,
        dropout=False,
        keep_reference=False,
        seed=options.seed,
        deterministic=False,
    )
    return LocalLearner(settings, join_process_group("cpu", timeout_s=60.0, store=None))


def recorded_groups(options: argparse.Namespace) -> list[RolloutGroup]:
    """Read the answers of `generation`, judged, in the order of their prompts."""
    chat = chat_of(options.workload / "model")
    prompts = issued_prompts(options.workload, chat, steps=2 * options.steps, seed=options.seed)
    members: dict[int, list[Completion]] = {}
    for record in read_jsonl(options.rollouts):
        rollout = rollout_of(record)
        members.setdefault(int(rollout.key[0]), []).append(rollout)
    assert all(len(rollouts) == GROUP_SIZE for rollouts in members.values()), "an answer is missing"
    return [judged_group(prompts[index], index, members[index]) for index in sorted(members)]


def judged_group(prompt: Prompt, index: int, rollouts: list[Completion]) -> RolloutGroup:
    """Judge answers by the run's verifier."""
    verdicts = [
        exact.judge(Sample(id="", prompt="", response=rollout.text, gold=prompt.gold), params=VERIFIER_PARAMS)
        for rollout in rollouts
    ]
    episodes = tuple(single_turn(prompt, rollout) for rollout in rollouts)
    return RolloutGroup(prompt=prompt, index=index, episodes=episodes, verdicts=tuple(verdicts))


def step_times(ended_s: list[float], *, warmup: int) -> dict[str, Any]:
    """Return the times between the ends of steps, without the warm-up."""
    counted = ended_s[warmup - 1 :]
    return {
        "mean_step_s": round((counted[-1] - counted[0]) / (len(counted) - 1), 4),
        "step_s": [round(after - before, 4) for before, after in pairwise(counted)],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["generation", "training"])
    parser.add_argument("workload", type=Path)
    parser.add_argument("rollouts", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--ahead", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--staleness", type=int, default=0)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--kv-cache", default="recompute", help="as in the run's recipe; no update comes here")
    parser.add_argument("--micro-batch-tokens", type=int, default=8192)
    chosen = parser.parse_args()
    measured = generation(chosen) if chosen.what == "generation" else training(chosen)
    print(json.dumps(measured), flush=True)
    os._exit(0)  # The engine's thread and vLLM's own exit handlers take seconds otherwise.
