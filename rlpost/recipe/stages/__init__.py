"""The stages of a recipe: one class a kind, chosen by `kind:`; a file holds a family of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rlpost.recipe.stages.pairs import DpoStage, OwnSamplesConfig, RewardModelStage
from rlpost.recipe.stages.rl import GrpoStage, PpoStage, RlStage
from rlpost.recipe.stages.stage import Stage
from rlpost.recipe.stages.supervised import CptStage, SftStage, SupervisedStage

__all__ = [
    "AnyStage",
    "CptStage",
    "DpoStage",
    "GrpoStage",
    "OwnSamplesConfig",
    "PpoStage",
    "RewardModelStage",
    "RlStage",
    "SftStage",
    "Stage",
    "SupervisedStage",
]

AnyStage = Annotated[
    CptStage | SftStage | DpoStage | RewardModelStage | GrpoStage | PpoStage, Field(discriminator="kind")
]
