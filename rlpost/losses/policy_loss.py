"""The loss of every RL stage, composed of a surrogate, an off-policy correction, a KL penalty and a critic's loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from rlpost.interfaces import LossInputs, LossSums
from rlpost.losses.cispo import Cispo
from rlpost.losses.gspo import Gspo
from rlpost.losses.kl import KlPenalty, k3
from rlpost.losses.off_policy import OffPolicy
from rlpost.losses.plugin_surrogate import plugin_surrogate
from rlpost.losses.ppo_clip import PpoClip
from rlpost.losses.ratios import ratios_of
from rlpost.losses.surrogate import Surrogate
from rlpost.losses.value_loss import ValueLoss
from rlpost.recipe.rl import (
    CispoConfig,
    GspoConfig,
    OffPolicyConfig,
    PluginLossConfig,
    PolicyLossConfig,
    PpoClipConfig,
)
from rlpost.recipe.stages import RlStage


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyLoss:
    """The loss `sum_t weight_t * (correction_t * surrogate_t + kl_coefficient * kl_t + value_coefficient * value_t)`.

    The weights and the batch's denominator define how tokens are averaged, see `losses.normalisation`. The same loss
    with another proximal policy is `replace(loss, off_policy=replace(loss.off_policy, proximal="log_linear"))`, with
    `dataclasses.replace`.

    Metrics, over the weighted tokens:

    - `clip_fraction`: share of tokens that the surrogate's clip changes;
    - `ratio_mean`, `ratio_max`: current / proximal policy, per token even under GSPO;
    - `behaviour_ratio_mean`, `behaviour_ratio_max`, `behaviour_kl`: current / behaviour policy, and the k3 estimate of
      KL(behaviour || current);
    - `logprob_gap_mean`, `logprob_gap_max`: |current - behaviour log-probability|, never clamped;
    - `correction_mean`, `corrected_fraction`: the weights, and the share of tokens capped or masked, if there is a
      correction;
    - `kl_reference`: the penalty's estimate, if there is a penalty in the loss;
    - `value_loss`, `value_clip_fraction`: figures of the critic, if there is one.
    """

    surrogate: Surrogate
    off_policy: OffPolicy
    kl: KlPenalty | None
    value: ValueLoss | None

    @property
    def columns(self) -> frozenset[str]:
        """See `interfaces.LossFn`; these are the columns of all terms that the loss has."""
        terms: set[str] = {"behaviour_logprobs_T"} | self.surrogate.columns | self.off_policy.columns
        if self.kl is not None:
            terms |= {"reference_logprobs_T"}
        if self.value is not None:
            terms |= {"returns_T", "old_values_T"}
        return frozenset(terms)

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        """Return the summed loss of one micro-batch."""
        proximal_T = self.off_policy.proximal_logprobs(inputs)
        log_ratios_T = inputs.logprobs_T - proximal_T
        losses_T, clipped_T = self.surrogate(inputs, log_ratios_T=log_ratios_T)
        measured = _Measured.of(inputs, log_ratios_T=log_ratios_T.detach())
        measured.means["clip_fraction"] = clipped_T

        correction = self.off_policy.correct(inputs, proximal_logprobs_T=proximal_T)
        if correction is not None:
            losses_T = losses_T * correction.weights_T
            measured.means["correction_mean"] = correction.weights_T
            measured.means["corrected_fraction"] = correction.changed_T
        if self.kl is not None:
            kl_T = self.kl.estimates(inputs)
            losses_T = losses_T + self.kl.coefficient * kl_T
            measured.means["kl_reference"] = kl_T
        if self.value is not None:
            value = self.value(inputs)
            losses_T = losses_T + self.value.coefficient * value.losses_T
            measured.means["value_loss"] = value.losses_T
            measured.means["value_clip_fraction"] = value.clipped_T
        return measured.sums(total=(inputs.weights_T * losses_T).sum())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """Metric name -> one value per token, reported as mean or maximum."""

    means: dict[str, Tensor]
    maxima: dict[str, Tensor]
    token_count: float

    @classmethod
    def of(cls, inputs: LossInputs, *, log_ratios_T: Tensor) -> _Measured:
        """Measure the ratios and differences between the three policies' log-probabilities."""
        current_T, behaviour_T = inputs.logprobs_T.detach(), inputs["behaviour_logprobs_T"]
        ratios_T, behaviour_ratios_T = ratios_of(log_ratios_T), ratios_of(current_T - behaviour_T)
        gaps_T = (current_T - behaviour_T).abs()
        return cls(
            means={
                "ratio_mean": ratios_T,
                "behaviour_ratio_mean": behaviour_ratios_T,
                "behaviour_kl": k3(behaviour_T, other_logprobs_T=current_T),
                "logprob_gap_mean": gaps_T,
            },
            maxima={"ratio_max": ratios_T, "behaviour_ratio_max": behaviour_ratios_T, "logprob_gap_max": gaps_T},
            token_count=float(len(current_T)),
        )

    def sums(self, *, total: Tensor) -> LossSums:
        return LossSums(
            total=total,
            means={name: (values_T.detach().sum(), self.token_count) for name, values_T in self.means.items()},
            maxima={name: _largest(values_T) for name, values_T in self.maxima.items()},
        )


def _largest(values_T: Tensor) -> Tensor:
    """Return the maximum of non-negative values; 0 for a micro-batch without weighted tokens."""
    return values_T.max() if len(values_T) else values_T.new_zeros(())


def policy_loss_of(stage: RlStage) -> PolicyLoss:
    """Build the loss that a recipe's stage describes; a KL penalty in the reward is not part of it."""
    critic = stage.critic
    in_loss = stage.kl.coefficient > 0 and stage.kl.place == "loss"
    return PolicyLoss(
        surrogate=_surrogate_of(stage.loss),
        off_policy=_off_policy_of(stage.off_policy),
        kl=KlPenalty(coefficient=stage.kl.coefficient, estimator=stage.kl.estimator) if in_loss else None,
        value=None if critic is None else ValueLoss(clip=critic.clip, coefficient=critic.coefficient),
    )


def _surrogate_of(config: PolicyLossConfig) -> Surrogate:
    match config:
        case PpoClipConfig():
            return PpoClip(clip_low=config.clip_low, clip_high=config.clip_high, dual_clip=config.dual_clip)
        case GspoConfig():
            return Gspo(clip_low=config.clip_low, clip_high=config.clip_high)
        case CispoConfig():
            return Cispo(cap=config.cap)
        case PluginLossConfig():
            return plugin_surrogate(config)


def _off_policy_of(config: OffPolicyConfig) -> OffPolicy:
    low, high = config.bounds()
    return OffPolicy(
        proximal=config.proximal,
        correction=config.correction,
        low=0.0 if low is None else low,
        high=math.inf if high is None else high,
    )
