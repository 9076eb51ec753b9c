"""Our policy losses, corrections among them, and their gradients equal TRL's on the same tokens and weights.

TRL's KL penalty is compared without its own extra, the importance ratio in front of it (`use_bias_correction_kl`).
What is left is float32 rounding: the largest relative errors seen are 4e-6 (loss) and 2e-6 (gradient).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from guide_steps import write_files
from tiny_models import PAD_ID
from torch import Tensor, nn
from trl_parity import (
    MAX_TOKENS,
    Row,
    assert_equal_loss_and_gradient,
    feed,
    grpo_trainer,
    inputs_of,
    nearby,
    padded,
    random_rows,
    response_logprobs,
)

from rlpost.interfaces import LossInputs
from rlpost.losses.cispo import Cispo
from rlpost.losses.gspo import Gspo
from rlpost.losses.kl import KlPenalty
from rlpost.losses.normalisation import Normalisation, denominator, row_weight
from rlpost.losses.off_policy import OffPolicy
from rlpost.losses.plugin_surrogate import plugin_surrogate
from rlpost.losses.policy_loss import PolicyLoss
from rlpost.losses.ppo_clip import PpoClip
from rlpost.losses.surrogate import Surrogate
from rlpost.recipe.rl import PluginLossConfig

ROWS = random_rows([(5, 7), (3, 2), (6, 9), (2, 4)], seed=5)
ADVANTAGES = [1.3, -0.4, -1.1, 0.7]
TEMPERATURE = 0.7
ON_POLICY = OffPolicy(proximal="behaviour", correction="none", low=0.0, high=math.inf)
NORMALISED_AS: dict[str, Normalisation] = {
    "dapo": "token",
    "cispo": "token",
    "grpo": "sequence",
    "sapo": "sequence",
    "dr_grpo": "constant",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """The same loss in both languages."""

    loss_type: str
    surrogate: Surrogate
    trl: dict[str, Any] = field(default_factory=dict[str, Any])
    kl_coefficient: float = 0.0
    same_clip_metric: bool = False
    """TRL counts rows for GSPO, tokens of positive advantage for CISPO, and no tokens cut by delta."""

    @property
    def loss(self) -> PolicyLoss:
        kl = KlPenalty(coefficient=self.kl_coefficient, estimator="k3") if self.kl_coefficient else None
        return PolicyLoss(surrogate=self.surrogate, off_policy=ON_POLICY, kl=kl, value=None)


CLIP = PpoClip(clip_low=0.2, clip_high=0.3, dual_clip=None)
TRL_CLIP = {"epsilon": 0.2, "epsilon_high": 0.3}
GSPO = Gspo(clip_low=0.02, clip_high=0.03)
TRL_GSPO = {"epsilon": 0.02, "epsilon_high": 0.03, "importance_sampling_level": "sequence"}
CASES = {
    **{
        f"{loss_type}-kl{coefficient}": Case(
            loss_type=loss_type, surrogate=CLIP, trl=TRL_CLIP, kl_coefficient=coefficient, same_clip_metric=True
        )
        for loss_type in ("dapo", "grpo", "dr_grpo")
        for coefficient in (0.0, 0.3)
    },
    "dual_clip": Case(
        loss_type="dapo",
        surrogate=PpoClip(clip_low=0.2, clip_high=0.3, dual_clip=1.35),
        trl=TRL_CLIP | {"delta": 1.35},
    ),
    "gspo": Case(loss_type="grpo", surrogate=GSPO, trl=TRL_GSPO),
    "gspo-kl": Case(loss_type="grpo", surrogate=GSPO, trl=TRL_GSPO, kl_coefficient=0.3),
    "gspo-token-mean": Case(loss_type="dapo", surrogate=GSPO, trl=TRL_GSPO),
    "cispo": Case(loss_type="cispo", surrogate=Cispo(cap=1.1), trl={"epsilon_high": 1.1}),
}


def divisor_of(normalisation: Normalisation) -> float:
    return denominator(
        normalisation,
        token_count=sum(len(row.response) for row in ROWS),
        row_count=len(ROWS),
        max_tokens=MAX_TOKENS,
    )


def weights_of(normalisation: Normalisation) -> list[float]:
    return [row_weight(normalisation, len(row.response)) for row in ROWS]


def logprobs_without_gradient(model: nn.Module, rows: list[Row]) -> list[Tensor]:
    with torch.no_grad():
        return response_logprobs(model, rows, temperature=TEMPERATURE)


@pytest.mark.parametrize("name", CASES)
def test_policy_loss_equals_grpo_trainer(model_path: Path, policy: nn.Module, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    inputs, trainer = assert_equals_trl(case, model_path, policy, tmp_path)
    clipped, tokens = case.loss(inputs).means["clip_fraction"]
    assert 0 < float(clipped) < float(tokens), "the batch must hold clipped and unclipped tokens"
    if case.same_clip_metric:
        trl_fraction = trainer._metrics["train"]["clip_ratio/region_mean"][0]
        assert float(clipped) / float(tokens) == pytest.approx(trl_fraction, abs=1e-6)


def test_the_loss_of_the_guide_equals_grpo_trainers_sapo(model_path: Path, policy: nn.Module, tmp_path: Path) -> None:
    write_files("write-an-algorithm.md", tmp_path)
    surrogate = plugin_surrogate(PluginLossConfig(kind=f"{tmp_path}/sapo.py:soft_gate", params={"negative": 1.5}))
    trl = {"sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.5}
    assert_equals_trl(Case(loss_type="sapo", surrogate=surrogate, trl=trl), model_path, policy, tmp_path)


def assert_equals_trl(case: Case, model_path: Path, policy: nn.Module, tmp_path: Path) -> tuple[LossInputs, Any]:
    behaviour = logprobs_without_gradient(nearby(policy, seed=6, scale=0.02), ROWS)
    reference = logprobs_without_gradient(nearby(policy, seed=7, scale=0.02), ROWS)
    trainer = grpo_trainer(
        model_path,
        tmp_path,
        loss_type=case.loss_type,
        beta=case.kl_coefficient,
        temperature=TEMPERATURE,
        **case.trl,
    )
    batch = {
        "prompt_ids": padded([row.prompt for row in ROWS], side="left", fill=PAD_ID),
        "prompt_mask": padded([[1] * len(row.prompt) for row in ROWS], side="left", fill=0),
        "completion_ids": padded([row.response for row in ROWS], side="right", fill=PAD_ID),
        "completion_mask": padded([[1] * len(row.response) for row in ROWS], side="right", fill=0),
        "old_per_token_logps": padded(behaviour, side="right", fill=0.0),
        "ref_per_token_logps": padded(reference, side="right", fill=0.0),
        "advantages": torch.tensor(ADVANTAGES),
        "num_items_in_batch": torch.tensor(sum(len(row.response) for row in ROWS)),
    }
    normalisation = NORMALISED_AS[case.loss_type]
    inputs = inputs_of(
        response_logprobs(policy, ROWS, temperature=TEMPERATURE),
        ROWS,
        weights=weights_of(normalisation),
        advantages=ADVANTAGES,
        behaviour=behaviour,
        reference=reference,
    )
    assert_equal_loss_and_gradient(
        policy,
        loss=case.loss,
        inputs=inputs,
        divisor=divisor_of(normalisation),
        trl_model=trainer.model,
        trl_loss=trainer.compute_loss(trainer.model.train(), batch),
    )
    return inputs, trainer


def test_the_cap_of_the_dual_clip_acts_in_its_case(policy: nn.Module) -> None:
    inputs = inputs_of(
        logprobs_without_gradient(policy, ROWS),
        ROWS,
        advantages=ADVANTAGES,
        behaviour=logprobs_without_gradient(nearby(policy, seed=6, scale=0.02), ROWS),
    )
    assert CASES["dual_clip"].loss(inputs).total < CASES["dapo-kl0.0"].loss(inputs).total


@pytest.mark.parametrize(
    ("mode", "correction", "low", "high"),
    [
        ("token_truncate", "truncate", 0.9, 1.1),
        ("token_mask", "icepop", 0.9, 1.1),
        ("sequence_truncate", "sequence_truncate", None, 1.02),
        ("sequence_mask", "sequence_mask", 0.5, 1.02),
    ],
)
def test_corrections_equal_those_of_grpo_trainer(
    model_path: Path,
    policy: nn.Module,
    tmp_path: Path,
    mode: str,
    correction: Any,
    low: float | None,
    high: float,
) -> None:
    """TRL's model is the proximal policy while it looks at the responses, and a moved one when it learns."""
    sampled = logprobs_without_gradient(nearby(policy, seed=6, scale=0.01), ROWS)
    current = nearby(policy, seed=9, scale=0.01)
    trainer = grpo_trainer(
        model_path,
        tmp_path,
        loss_type="dapo",
        temperature=TEMPERATURE,
        vllm_importance_sampling_mode=mode,
        vllm_importance_sampling_clip_min=low,
        vllm_importance_sampling_clip_max=high,
        epsilon=0.2,
        epsilon_high=0.3,
    )
    trainer.use_vllm = True  # after the engine would have been started: nothing but the correction is left of it
    batch = feed(trainer, ROWS, rewards=[[0.0], [1.0], [2.0], [4.0]], sampled=sampled)
    batch["advantages"] = torch.tensor(ADVANTAGES)
    trainer.model.load_state_dict(copy.deepcopy(current.state_dict()))

    inputs = inputs_of(
        response_logprobs(current, ROWS, temperature=TEMPERATURE),
        ROWS,
        advantages=ADVANTAGES,
        behaviour=sampled,
        proximal=logprobs_without_gradient(policy, ROWS),
    )
    loss = PolicyLoss(
        surrogate=CLIP,
        off_policy=OffPolicy(proximal="recompute", correction=correction, low=low or 0.0, high=high),
        kl=None,
        value=None,
    )
    assert_equal_loss_and_gradient(
        current,
        loss=loss,
        inputs=inputs,
        divisor=divisor_of("token"),
        trl_model=trainer.model,
        trl_loss=trainer.compute_loss(trainer.model.train(), batch),
    )
    changed, tokens = loss(inputs).means["corrected_fraction"]
    assert 0 < float(changed) < float(tokens), "the batch must hold tokens inside and outside the bounds"
