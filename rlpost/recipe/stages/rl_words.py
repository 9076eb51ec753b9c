"""Describes a reinforcement learning stage: its batch, the age of its samples, its objective."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rlpost.recipe.rl import (
    CispoConfig,
    Correction,
    GaeConfig,
    GspoConfig,
    KlConfig,
    PluginLossConfig,
    PolicyLossConfig,
    PpoClipConfig,
    ValueConfig,
)
from rlpost.recipe.stages.rl import RlStage

_MEAN_WORDS = {
    "token": "one mean over tokens",
    "sequence": "mean of each response's mean",
    "sequence_sum": "mean of each response's sum",
    "constant": "sum divided by batch size x max_tokens",
}
_PROXIMAL_WORDS = {
    "behaviour": "the policy that sampled",
    "recompute": "the policy before the step's first update, by one more forward pass of the learner",
    "log_linear": "a log-linear estimate of the policy before the step's first update, between engine and learner",
}
_CORRECTION_WORDS: dict[Correction, str] = {
    "none": "is not corrected",
    "truncate": "is cut {bounds}",
    "icepop": "masks tokens {bounds}",
    "sequence_truncate": "is a product over the response, cut {bounds}",
    "sequence_mask": "is a product over the response and masks responses {bounds}",
    "geometric_mask": "masks responses whose geometric mean is {bounds}",
}


def rl_lines(stage: RlStage, *, credit: str, critic: str | None) -> Iterator[str]:
    """Yield the lines that `rlpost check` prints for this stage, before micro-batches and schedule.

    `credit` describes how scores become advantages; `critic` is the line about the value model, if there is one.
    """
    responses = stage.prompts_per_step * stage.samples_per_prompt
    yield (
        f"{stage.steps:,} steps x {stage.prompts_per_step:,} prompts x {stage.samples_per_prompt:,} samples = "
        f"{stage.steps * responses:,} responses ({responses:,} a step)"
    )
    yield (
        f"responses of at most {stage.sampling.max_tokens:,} tokens: at most {responses * stage.sampling.max_tokens:,} "
        "generated tokens a step"
    )
    yield from _optimizer_steps(stage, responses=responses)
    yield _staleness(stage)
    yield _objective(stage, credit=credit)
    yield _proximal(stage)
    if critic is not None:
        yield critic
    yield from _scores(stage)


def critic_line(value: ValueConfig, gae: GaeConfig, *, learning_rate: float) -> str:
    """Describe the value model and its advantages."""
    start = "the stage's own start" if value.start == "policy" else value.start
    whitened = ", whitened" if gae.whiten else ""
    return (
        f"critic from {start}, learning rate {learning_rate:g}; advantages with discount {gae.discount:g} and trace "
        f"decay {gae.trace_decay:g}{whitened}"
    )


def _optimizer_steps(stage: RlStage, *, responses: int) -> Iterator[str]:
    steps = stage.optimizer_steps_per_batch
    if steps == 1:
        return
    how = ""
    if stage.epochs > 1:
        parts = f" x {stage.minibatches} minibatches" if stage.minibatches > 1 else ""
        how = f"{stage.epochs} passes{parts} = "
    yield (
        f"{how}{steps} optimizer steps a step, each on {responses // stage.minibatches:,} responses: "
        f"{stage.steps * steps:,} optimizer steps"
    )


def _staleness(stage: RlStage) -> str:
    if stage.max_staleness == 0:
        return "synchronous: the next step's rollouts wait for the new weights"
    versions = "1 version" if stage.max_staleness == 1 else f"{stage.max_staleness} versions"
    cache = "is computed again" if stage.kv_cache_on_update == "recompute" else "is kept"
    return (
        f"asynchronous: rollouts run up to {versions} ahead; new weights reach responses in flight, whose KV cache "
        f"{cache}"
    )


def _objective(stage: RlStage, *, credit: str) -> str:
    name = "" if stage.algorithm is None else f"algorithm {stage.algorithm}: "
    return (
        f"{name}advantages {credit}, {_loss(stage.loss)}, {_MEAN_WORDS[stage.loss.normalisation]}; "
        f"{_kl_penalty(stage.kl)}"
    )


def _loss(loss: PolicyLossConfig) -> str:
    match loss:
        case CispoConfig():
            return f"loss cispo, ratios of at most {loss.cap:g}"
        case GspoConfig():
            return f"loss gspo, ratios of responses clipped to {_around_one(loss.clip_low, loss.clip_high)}"
        case PpoClipConfig():
            text = f"loss ppo_clip, ratios of tokens clipped to {_around_one(loss.clip_low, loss.clip_high)}"
            cap = loss.dual_clip
            return text if cap is None else f"{text}, at most {cap:g} where the advantage is negative"
        case PluginLossConfig():
            return f"loss {loss.kind}{params_words(loss.params)}"


def _around_one(below: float, above: float) -> str:
    return f"{1 - below:g} .. {1 + above:g}"


def params_words(params: Mapping[str, Any]) -> str:
    """Format the parameters of a plug-in in brackets; empty if it has none."""
    given = ", ".join(f"{name}: {value}" for name, value in params.items())
    return f" ({given})" if given else ""


def _kl_penalty(kl: KlConfig) -> str:
    if kl.coefficient == 0:
        return "no KL penalty"
    reference = "the stage's start"
    if kl.refresh_every is not None:
        reference += f", moved by {kl.refresh_mix:g} towards the policy every {kl.refresh_every:,} steps"
    return f"KL penalty {kl.coefficient:g} ({kl.estimator}) in the {kl.place}, against {reference}"


def _proximal(stage: RlStage) -> str:
    proximal = stage.off_policy.proximal
    words = _PROXIMAL_WORDS[proximal]
    if proximal == "recompute" and stage.optimizer_steps_per_batch == 1:
        words = "the learner's own policy, which costs nothing as a step has one update"
    text = f"the clip is centred on {words} ({proximal})"
    if proximal == "behaviour":
        return f"{text}; differences of rounding between engine and learner are clipped as changes of the policy"
    masks = stage.off_policy.correction.endswith("mask") or stage.off_policy.correction == "icepop"
    low, high = stage.off_policy.bounds()
    if low is not None and high is not None:
        bounds = f"outside {low:g} .. {high:g}" if masks else f"to {low:g} .. {high:g}"
    elif high is not None:
        bounds = f"above {high:g}" if masks else f"at {high:g}"
    else:
        bounds = "" if low is None else f"below {low:g}"
    correction = _CORRECTION_WORDS[stage.off_policy.correction].format(bounds=bounds)
    return f"{text}; its ratio to the policy that sampled {correction}"


def _scores(stage: RlStage) -> Iterator[str]:
    if stage.reward_scale != 1:
        yield f"scores are multiplied by {stage.reward_scale:g}"
    if stage.truncated_score is not None:
        yield f"a response that is cut off scores {stage.truncated_score:g}"
    if stage.mask_truncated:
        yield "responses that are cut off are left out of the loss"
    if stage.overlong is not None:
        tokens = round(stage.overlong.buffer_ratio * stage.sampling.max_tokens)
        yield f"the last {tokens:,} of {stage.sampling.max_tokens:,} tokens cost up to {stage.overlong.factor:g}"
