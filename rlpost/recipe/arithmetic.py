"""The batch arithmetic of a recipe on a cluster, in words: the output of `rlpost check` for a valid recipe."""

from __future__ import annotations

import math

from rlpost.recipe.memory_words import memory_line
from rlpost.recipe.number_words import count
from rlpost.recipe.schema import BASE, ClusterConfig, Recipe
from rlpost.recipe.sections import EvaluateConfig
from rlpost.recipe.stages import AnyStage, TrainedStage


def describe(recipe: Recipe, cluster: ClusterConfig) -> list[str]:
    """Return a few lines per stage: steps, samples, tokens, micro-batches, warm-up and gates.

    Token counts are upper bounds, for sequences that all have `model.max_length` tokens.
    """
    lines = [_roles(recipe, cluster), *remote_code_lines(recipe)]
    for index, stage in enumerate(recipe.stages):
        before = recipe.stages[index - 1].name if index else BASE
        starts = [name for parent, name in recipe.parents_of(stage) if parent.role == "start"]
        goes_on = "" if starts in ([], [before]) else f", starts from {starts[0]}"
        lines.append(f"stage {index + 1}: {stage.name} ({stage.kind}){goes_on}")
        lines += [f"  {line}" for line in _stage(stage, recipe=recipe, cluster=cluster)]
    if recipe.evaluate is not None:
        unserved = [stage.name for stage in recipe.stages if not stage.is_evaluated]
        which = f"after every stage but {', '.join(unserved)}" if unserved else "after every stage"
        lines.append(f"{which}: {_evaluation(recipe, recipe.evaluate)}")
    return lines


def remote_code_lines(recipe: Recipe) -> list[str]:
    """Warn that code from a third party will run, if it will."""
    if not recipe.model.trust_remote_code:
        return []
    return ["model.trust_remote_code is true: Python files that come with the model and its tokenizer are run"]


def generates(recipe: Recipe) -> list[str]:
    """Name the parts of the recipe that need rollout actors."""
    users = [f"stage {stage.name}" for stage in recipe.stages if stage.samples_responses is not None]
    return [*users, "evaluate"] if recipe.evaluate is not None else users


def _roles(recipe: Recipe, cluster: ClusterConfig) -> str:
    learner, rollout = cluster.learner, cluster.rollout
    text = f"cluster {cluster.name}: {count(learner.ranks, 'learner rank')} on {learner.device}"
    text += " (torchrun decides how many there really are)" if cluster.launcher == "torchrun" else ""
    if generates(recipe):
        text += f", {count(rollout.actors, 'rollout actor')} on {rollout.device}"
        text += (
            f", {count(cluster.scoring.workers, 'verifier process', 'verifier processes')}" if recipe.judging() else ""
        )
    return f"{text}; sequences of at most {recipe.model.max_length:,} tokens"


def _stage(stage: AnyStage, *, recipe: Recipe, cluster: ClusterConfig) -> list[str]:
    data_rows = _data_rows(stage, recipe=recipe)
    lines = list(stage.words(data_rows))
    if stage.training is not None:
        lines += _training(stage.training, data_rows=data_rows, recipe=recipe, cluster=cluster)
    if stage.require:
        bounds = ", ".join(f"{score} {bound.strip()}" for score, bound in stage.require.items())
        lines.append(f"the run stops after this stage unless {bounds}")
    return lines


def _training(stage: TrainedStage, *, data_rows: int | None, recipe: Recipe, cluster: ClusterConfig) -> list[str]:
    memory = memory_line(stage, recipe=recipe, cluster=cluster)
    return [
        *stage.sampler.words(),
        _micro_batches(stage, recipe=recipe, ranks=cluster.learner.ranks),
        *([] if memory is None else [memory]),
        _schedule(stage, optimizer_steps=stage.optimizer_steps(data_rows)),
    ]


def _data_rows(stage: AnyStage, *, recipe: Recipe) -> int | None:
    rows = [recipe.data[name].rows if name in recipe.data else None for name in stage.data_sets]
    known = [number for number in rows if number is not None]
    return sum(known) if len(known) == len(rows) else None


def _micro_batches(stage: TrainedStage, *, recipe: Recipe, ranks: int) -> str:
    rows = stage.rows_per_optimizer_step
    sequences = rows * stage.sequences_per_row
    longest = recipe.longest_row(stage.name)
    tokens = sequences * longest
    rows_a_rank = math.ceil(rows / ranks)
    micro_tokens = stage.learner.micro_batch_tokens
    rows_a_micro_batch = max(1, micro_tokens // (longest * stage.sequences_per_row))
    micro_batches = count(math.ceil(rows_a_rank / rows_a_micro_batch), "micro-batch", "micro-batches")
    return (
        f"an optimizer step: {count(sequences, 'sequence')}, at most {tokens:,} tokens; about "
        f"{count(rows_a_rank, stage.row_word)} a rank, in {micro_batches} of {micro_tokens:,} tokens if all have full "
        "length"
    )


def _schedule(stage: TrainedStage, *, optimizer_steps: int | None) -> str:
    return ", ".join(stage.optimizer.words(optimizer_steps))


def _evaluation(recipe: Recipe, evaluate: EvaluateConfig) -> str:
    rows = [recipe.data[name].rows if name in recipe.data else None for name in evaluate.data]
    names = ", ".join(evaluate.data)
    samples = evaluate.samples
    if any(number is None for number in rows):
        return f"{count(samples, 'sample')} for every row of {names}"
    prompts = sum(number for number in rows if number is not None)
    return f"{prompts:,} prompts of {names} x {count(samples, 'sample')} = {count(prompts * samples, 'response')}"
