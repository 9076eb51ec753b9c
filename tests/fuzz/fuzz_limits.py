"""A recipe that was checked as it stands, cut down so that fake parts run it in less than a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlpost.recipe.schema import Recipe
from rlpost.recipe.sections import SamplingConfig, TokenizerTraining
from rlpost.recipe.stages import AnyStage, DpoStage, RewardModelStage, RlStage

MOST_ROWS = 24
MOST_TOKENS = 6


def limited(recipe: Recipe, *, output: Path) -> Recipe:
    """Fewer rows and steps, the same everything else; its output stays inside the case's own folder."""
    data = {
        # Rows of neighbouring seeds are mostly the same ones, and there would be nothing but held-out rows.
        name: config.model_copy(update={"rows": min(config.rows, MOST_ROWS), "seed": config.seed * MOST_ROWS % 2**62})
        if config.rows is not None and config.source.startswith("reasoning_gym:")
        else config
        for name, config in recipe.data.items()
    }
    update: dict[str, Any] = {"data": data, "stages": [_stage(stage) for stage in recipe.stages]}
    if isinstance(recipe.model.tokenizer, TokenizerTraining):
        training = recipe.model.tokenizer
        smaller = training.model_copy(update={"vocab_size": min(training.vocab_size, 1000)})
        update["model"] = recipe.model.model_copy(update={"tokenizer": smaller})
    if recipe.evaluate is not None:
        evaluate = {"samples": min(recipe.evaluate.samples, 2), "sampling": _sampling(recipe.evaluate.sampling)}
        update["evaluate"] = recipe.evaluate.model_copy(update=evaluate)
    if (Path.cwd() / recipe.output).resolve() != output.resolve():
        update["output"] = str(output)
    return recipe.model_copy(update=update)


def _stage(stage: AnyStage) -> AnyStage:
    if isinstance(stage, RlStage):
        prompts, minibatches = stage.prompts_per_step, stage.minibatches
        if prompts > 4:
            prompts, minibatches = 4, 2 if minibatches > 1 else 1
        return stage.model_copy(
            update={
                "steps": min(stage.steps, 3),
                "prompts_per_step": prompts,
                "minibatches": minibatches,
                "epochs": min(stage.epochs, 2),
                "samples_per_prompt": min(stage.samples_per_prompt, 3),
                "sampling": _sampling(stage.sampling),
            }
        )
    update: dict[str, Any] = {"rows_per_step": min(stage.rows_per_step, 4)}
    update |= {"epochs": min(stage.epochs, 1.0)} if stage.epochs is not None else {"steps": min(stage.steps or 1, 2)}
    if isinstance(stage, DpoStage | RewardModelStage) and stage.own_samples is not None:
        own = stage.own_samples
        smaller = {
            "samples_per_prompt": min(own.samples_per_prompt, 6),
            "prompts": min(own.prompts or MOST_ROWS, MOST_ROWS),
            "pairs_per_prompt": min(own.pairs_per_prompt, 3),
            "sampling": _sampling(own.sampling),
        }
        update["own_samples"] = own.model_copy(update=smaller)
    return stage.model_copy(update=update)


def _sampling(sampling: SamplingConfig) -> SamplingConfig:
    return sampling.model_copy(update={"max_tokens": min(sampling.max_tokens, MOST_TOKENS)})
