"""The batch arithmetic of a recipe on a cluster, in words: what `rlpost check` prints when nothing is wrong."""

from __future__ import annotations

import math

from rlpost.recipe.memory_words import memory_line
from rlpost.recipe.reward_model import PAIR_ACCURACY, held_out_pair_count
from rlpost.recipe.rl_words import rl_lines
from rlpost.recipe.schema import BASE, ClusterConfig, Recipe
from rlpost.recipe.sections import EvaluateConfig, SamplingConfig
from rlpost.recipe.stages import AnyStage, CptStage, DpoStage, GrpoStage, PpoStage, RewardModelStage, SftStage

PairStage = DpoStage | RewardModelStage
SequenceStage = CptStage | SftStage | PairStage


def describe(recipe: Recipe, cluster: ClusterConfig) -> list[str]:
    """A few lines for each stage: steps, samples, tokens, micro-batches, warm-up and gates.

    Token counts are upper bounds, as if every sequence had `model.max_length` tokens.
    """
    lines = [_roles(recipe, cluster), *remote_code_lines(recipe)]
    for index, stage in enumerate(recipe.stages):
        before = recipe.stages[index - 1].name if index else BASE
        start = recipe.start_of(stage)
        goes_on = "" if start == before else f", starts from {start}"
        lines.append(f"stage {index + 1}: {stage.name} ({stage.kind}){goes_on}")
        lines += [f"  {line}" for line in _stage(stage, recipe=recipe, cluster=cluster)]
    if recipe.evaluate is not None:
        unserved = [stage.name for stage in recipe.stages if isinstance(stage, RewardModelStage)]
        which = f"after every stage but {', '.join(unserved)}" if unserved else "after every stage"
        lines.append(f"{which}: {_evaluation(recipe, recipe.evaluate)}")
    return lines


def remote_code_lines(recipe: Recipe) -> list[str]:
    """What a person must know before code of somebody else runs."""
    if not recipe.model.trust_remote_code:
        return []
    return ["model.trust_remote_code is true: Python files that come with the model and its tokenizer are run"]


def generates(recipe: Recipe) -> list[str]:
    """Which parts of the recipe need rollout actors, in words."""
    users = [f"stage {stage.name}" for stage in recipe.stages if sampling_of(stage) is not None]
    return [*users, "evaluate"] if recipe.evaluate is not None else users


def sampling_of(stage: AnyStage) -> SamplingConfig | None:
    """How the stage samples responses, if it does."""
    if isinstance(stage, GrpoStage | PpoStage):
        return stage.sampling
    if isinstance(stage, PairStage) and stage.own_samples is not None:
        return stage.own_samples.sampling
    return None


def rows_per_optimizer_step(stage: AnyStage) -> int:
    """Rows, pairs or responses that one optimizer step learns from."""
    if isinstance(stage, GrpoStage | PpoStage):
        return stage.prompts_per_step * stage.samples_per_prompt // stage.minibatches
    return stage.rows_per_step


def sequences_per_row(stage: AnyStage) -> int:
    """2 for preference pairs, which stay together in one micro-batch."""
    return 2 if isinstance(stage, PairStage) else 1


def _roles(recipe: Recipe, cluster: ClusterConfig) -> str:
    learner, rollout = cluster.learner, cluster.rollout
    text = f"cluster {cluster.name}: {_count(learner.ranks, 'learner rank')} on {learner.device}"
    text += " (torchrun decides how many there really are)" if cluster.launcher == "torchrun" else ""
    if generates(recipe):
        text += f", {_count(rollout.actors, 'rollout actor')} on {rollout.device}"
        text += (
            f", {_count(cluster.scoring.workers, 'verifier process', 'verifier processes')}" if recipe.judging() else ""
        )
    return f"{text}; sequences of at most {recipe.model.max_length:,} tokens"


def _stage(stage: AnyStage, *, recipe: Recipe, cluster: ClusterConfig) -> list[str]:
    if isinstance(stage, GrpoStage | PpoStage):
        lines = list(rl_lines(stage))
        optimizer_steps = stage.steps * stage.minibatches * stage.epochs
    else:
        lines = _pairs(stage, recipe=recipe) if isinstance(stage, PairStage) else []
        length, optimizer_steps = _length(stage, row_count=_row_count(stage, recipe=recipe))
        lines.append(length)
    lines.append(_micro_batches(stage, recipe=recipe, ranks=cluster.learner.ranks))
    memory = memory_line(stage, recipe=recipe, cluster=cluster)
    lines += [] if memory is None else [memory]
    lines.append(_schedule(stage, optimizer_steps=optimizer_steps))
    if stage.require:
        bounds = ", ".join(f"{score} {bound.strip()}" for score, bound in stage.require.items())
        lines.append(f"the run stops after this stage unless {bounds}")
    return lines


def _pairs(stage: PairStage, *, recipe: Recipe) -> list[str]:
    lines = _own_samples(stage, recipe=recipe)
    if isinstance(stage, RewardModelStage):
        pairs = _pair_count(stage, recipe=recipe)
        held_out = "a tenth of the pairs, at most 512," if pairs is None else _count(held_out_pair_count(pairs), "pair")
        lines.append(f"{held_out} kept out of training; the stage's score is {PAIR_ACCURACY} on them")
    return lines


def _own_samples(stage: PairStage, *, recipe: Recipe) -> list[str]:
    own = stage.own_samples
    if own is None:
        return []
    prompts = own.prompts or _data_rows(stage, recipe=recipe)
    if prompts is None:
        return [f"{own.samples_per_prompt} samples for every row of {', '.join(stage.data)}"]
    return [
        f"{prompts:,} prompts x {own.samples_per_prompt:,} samples = {prompts * own.samples_per_prompt:,} responses, "
        f"from which at most {prompts * own.pairs_per_prompt:,} pairs are made"
    ]


def _data_rows(stage: AnyStage, *, recipe: Recipe) -> int | None:
    rows = [recipe.data[name].rows if name in recipe.data else None for name in stage.data]
    known = [count for count in rows if count is not None]
    return sum(known) if len(known) == len(rows) else None


def _pair_count(stage: PairStage, *, recipe: Recipe) -> int | None:
    """Pairs there are at most, where the recipe alone says it."""
    rows = _data_rows(stage, recipe=recipe)
    if stage.own_samples is None:
        return rows
    prompts = stage.own_samples.prompts or rows
    return None if prompts is None else prompts * stage.own_samples.pairs_per_prompt


def _row_count(stage: SequenceStage, *, recipe: Recipe) -> int | None:
    """Rows or pairs to pass over, where the recipe alone says it; held-out prompts are not yet taken out."""
    if not isinstance(stage, PairStage):
        return _data_rows(stage, recipe=recipe)
    pairs = _pair_count(stage, recipe=recipe)
    if pairs is None or isinstance(stage, DpoStage):
        return pairs
    return max(1, pairs - held_out_pair_count(pairs))


def _length(stage: SequenceStage, *, row_count: int | None) -> tuple[str, int | None]:
    unit = "pairs" if isinstance(stage, PairStage) else "rows"
    if stage.steps is not None:
        seen = stage.steps * stage.rows_per_step
        text = f"{stage.steps:,} steps x {stage.rows_per_step:,} {unit} = {seen:,} {unit}"
        text += f", {_passes(seen / row_count)} over at most {row_count:,}" if row_count else ""
        return text, stage.steps
    assert stage.epochs is not None
    if row_count is None:
        data = ", ".join(stage.data)
        return f"{_passes(stage.epochs)} over all {unit} of {data}, {stage.rows_per_step:,} {unit} a step", None
    steps = stage.step_count(row_count)
    return (
        f"{_passes(stage.epochs)} over at most {row_count:,} {unit} = {steps:,} steps x {stage.rows_per_step:,} {unit}",
        steps,
    )


def _micro_batches(stage: AnyStage, *, recipe: Recipe, ranks: int) -> str:
    rows = rows_per_optimizer_step(stage)
    sequences = rows * sequences_per_row(stage)
    tokens = sequences * recipe.model.max_length
    unit = "pair" if sequences_per_row(stage) == 2 else "row"
    rows_a_rank = math.ceil(rows / ranks)
    micro_tokens = stage.learner.micro_batch_tokens
    rows_a_micro_batch = max(1, micro_tokens // (recipe.model.max_length * sequences_per_row(stage)))
    micro_batches = _count(math.ceil(rows_a_rank / rows_a_micro_batch), "micro-batch", "micro-batches")
    return (
        f"an optimizer step: {_count(sequences, 'sequence')}, at most {tokens:,} tokens; about "
        f"{_count(rows_a_rank, unit)} a rank, in {micro_batches} of {micro_tokens:,} tokens if all have full length"
    )


def _schedule(stage: AnyStage, *, optimizer_steps: int | None) -> str:
    optimizer = stage.optimizer
    text = f"learning rate {optimizer.learning_rate:g}, {optimizer.schedule}"
    if optimizer.warmup_ratio == 0:
        return f"{text}, no warm-up"
    if optimizer_steps is None:
        return f"{text}, warm-up over the first {optimizer.warmup_ratio:.3g} of the steps"
    warmup_steps = optimizer.warmup_steps(optimizer_steps)
    return f"{text}, warm-up over {_count(warmup_steps, 'step')} of {optimizer_steps:,}"


def _evaluation(recipe: Recipe, evaluate: EvaluateConfig) -> str:
    rows = [recipe.data[name].rows if name in recipe.data else None for name in evaluate.data]
    names = ", ".join(evaluate.data)
    samples = evaluate.samples
    if any(count is None for count in rows):
        return f"{_count(samples, 'sample')} for every row of {names}"
    prompts = sum(count for count in rows if count is not None)
    return f"{prompts:,} prompts of {names} x {_count(samples, 'sample')} = {_count(prompts * samples, 'response')}"


def _passes(number: float) -> str:
    return "1 pass" if number == 1 else f"{number:.3g} passes"


def _count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"
