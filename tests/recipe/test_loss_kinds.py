"""A loss's settings are those of its kind, also where a preset or an extended recipe has another kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlpost.errors import RecipeError
from rlpost.recipe.load import load_recipe
from rlpost.recipe.rl import CispoConfig, GspoConfig, PluginLossConfig, PpoClipConfig

VALID = Path(__file__).parent / "valid.yaml"


def rl_stage(*overrides: str, path: Path = VALID) -> Any:
    return load_recipe(path, overrides=[f"stages.grpo.{text}" for text in overrides]).recipe.stage_called("grpo")


@pytest.mark.parametrize(
    ("written", "loss"),
    [
        ("{}", PpoClipConfig(clip_low=0.2, clip_high=0.2, normalisation="token")),
        ("{clip_high: 0.3}", PpoClipConfig(clip_low=0.2, clip_high=0.3, normalisation="token")),
        ("{kind: gspo}", GspoConfig(kind="gspo", clip_low=3e-4, clip_high=4e-4, normalisation="sequence")),
        ("{kind: cispo, normalisation: constant}", CispoConfig(kind="cispo", cap=5.0, normalisation="constant")),
        (
            "{kind: 'my.losses:soft', params: {scale: 2}}",
            PluginLossConfig(kind="my.losses:soft", params={"scale": 2}, normalisation="token"),
        ),
    ],
)
def test_each_kind_has_settings_and_defaults_of_its_own(written: str, loss: object) -> None:
    assert rl_stage(f"loss={written}").loss == loss


def test_a_kind_beside_a_preset_takes_nothing_of_the_presets_loss() -> None:
    assert rl_stage("algorithm=dapo", "minibatches=1", "loss={kind: cispo}").loss == CispoConfig(kind="cispo")
    assert rl_stage("algorithm=dapo", "minibatches=1", "loss={kind: ppo_clip}").loss.clip_high == 0.28


def test_a_kind_over_an_extended_recipe_takes_nothing_of_its_loss(tmp_path: Path) -> None:
    lower = tmp_path / "lower.yaml"
    lower.write_text(f"extends: {VALID}\nstages: {{grpo: {{loss: {{kind: ppo_clip, dual_clip: 3.0}}}}}}\n")
    assert rl_stage(path=lower).loss.dual_clip == 3.0
    assert rl_stage("loss.clip_low=0.1", path=lower).loss == PpoClipConfig(clip_low=0.1, dual_clip=3.0)
    assert rl_stage("loss.kind=cispo", path=lower).loss == CispoConfig(kind="cispo")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{kind: cispo, clip_low: 0.1}", r"loss.clip_low: belongs to kind: ppo_clip or gspo; found kind: cispo"),
        ("{kind: gspo, clip_hihg: 0.1}", r"loss.clip_hihg: unknown key; did you mean `clip_high`\?"),
        ("{kind: 'a.py:b', cap: 1}", r"loss.cap: belongs to kind: cispo; a plug-in's settings belong in `params`"),
        (
            "{kind: 'a.py:b', normalisation: x}",
            r"loss.normalisation: expected 'token', 'sequence', 'sequence_sum' or 'constant'",
        ),
        ("{kind: 3}", r"loss: unknown kind '3'; known are `cispo`, `gspo`, `module:name or"),
        ("ppo_clip", r"loss: expected a mapping, found the text 'ppo_clip'"),
        ("null", r"loss: expected a mapping, found nothing"),
    ],
)
def test_what_does_not_fit_a_loss_is_said(written: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        rl_stage(f"loss={written}")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{dual_clip: 3.0}", "loss ppo_clip, ratios of tokens clipped to 0.8 .. 1.2, at most 3 where the advantage is"),
        ("{kind: gspo}", "loss gspo, ratios of responses clipped to 0.9997 .. 1.0004, mean of each response's mean"),
        ("{kind: cispo}", "loss cispo, ratios of at most 5, one mean over tokens"),
        ("{kind: 'a:b', params: {x: 1, y: z}}", "loss a:b (x: 1, y: z), one mean over tokens"),
    ],
)
def test_check_describes_the_loss_in_words(written: str, words: str) -> None:
    assert any(words in line for line in rl_stage(f"loss={written}").words(None))
