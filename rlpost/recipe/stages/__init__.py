"""The stages of a recipe: one class per kind, chosen by `kind:`; each file contains a family of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, get_args

from pydantic import Field

from rlpost.recipe.stages.merge import MergeSource, MergeStage
from rlpost.recipe.stages.pairs import DpoStage, OwnSamplesConfig, PairStage, RewardModelStage
from rlpost.recipe.stages.policy_gradient import GrpoStage, PpoStage
from rlpost.recipe.stages.rl import RlStage
from rlpost.recipe.stages.stage import BASE, Parent, Product, RecipePart, Role, Stage, TrainedStage
from rlpost.recipe.stages.supervised import CptStage, CrossEntropyStage, SftStage, SupervisedStage
from rlpost.recipe.stages.unpaired import KtoStage, QrpoStage

__all__ = [
    "BASE",
    "STAGE_CLASSES",
    "AnyStage",
    "CptStage",
    "CrossEntropyStage",
    "DpoStage",
    "GrpoStage",
    "KtoStage",
    "MergeSource",
    "MergeStage",
    "OwnSamplesConfig",
    "PairStage",
    "Parent",
    "PpoStage",
    "Product",
    "QrpoStage",
    "RecipePart",
    "RewardModelStage",
    "RlStage",
    "Role",
    "SftStage",
    "Stage",
    "SupervisedStage",
    "TrainedStage",
]

AnyStage = Annotated[
    CptStage | SftStage | DpoStage | KtoStage | QrpoStage | RewardModelStage | GrpoStage | PpoStage | MergeStage,
    Field(discriminator="kind"),
]
STAGE_CLASSES: Mapping[str, type[Stage]] = {stage.kind_name(): stage for stage in get_args(get_args(AnyStage)[0])}
"""Kind -> class."""
