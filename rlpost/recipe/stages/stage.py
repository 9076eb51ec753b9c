"""Facts that every stage states about itself, and the keys that all stages have."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rlpost.recipe.sections import LearnerConfig, LoraConfig, Name, OptimizerConfig, Section

Requirement = Annotated[str, Field(pattern=r"^\s*(>=|>|<=|<)\s*-?\d+(\.\d+)?\s*$")]


class Stage(Section):
    """What all stages have."""

    name: Name
    start: Name | None = None
    """The stage whose model this one starts from; by default the last one before it that is a language model."""
    data: list[Name] = Field(default=[], description="names of data sets, their rows mixed")
    optimizer: OptimizerConfig
    learner: LearnerConfig = LearnerConfig()
    lora: LoraConfig | None = None
    require: dict[str, Requirement] = Field(default_factory=dict)
    """Score -> bound, for example `pass@1: ">= 0.3"`; checked on the held-out evaluation after the stage."""
