"""Facts that every stage states about itself, and the keys that all stages have.

Code outside this package never asks which kind a stage is: it reads these facts. A new kind of stage answers them, and
check, arithmetic, lineage and pipeline treat it rightly without a change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import Field

from rlpost.recipe.columns import Use
from rlpost.recipe.problems import Problem
from rlpost.recipe.rl import ValueConfig
from rlpost.recipe.sections import LearnerConfig, LoraConfig, Name, OptimizerConfig, SamplingConfig, Section
from rlpost.recipe.yaml_tree import KeyPath

Requirement = Annotated[str, Field(pattern=r"^\s*(>=|>|<=|<)\s*-?\d+(\.\d+)?\s*$")]
Product = Literal["language_model", "reward_model"]
"""A language model can answer, be evaluated, and be the start of any stage; a reward model gives scores."""
Role = Literal["start", "critic"]
"""The model that a stage begins from; the model that a value model begins from."""
RecipePart = Literal["model.dtype", "model.max_length", "held_out", "rewards", "seed", "deterministic"]
"""A part of the recipe, outside the stage's own section and its data sets, that can decide a stage's result."""


class Parent(NamedTuple):
    """An artifact that a stage is made from."""

    key: KeyPath
    """The key of the stage that names it."""
    role: Role
    name: str | None
    """A stage, `base`, or a model directory where the role allows one; None for the last language model before."""
    accepts: frozenset[Product]


class SampledResponses(NamedTuple):
    """How a stage samples responses."""

    key: KeyPath
    """The key of the stage that holds the settings."""
    config: SamplingConfig


class SentAdapter(NamedTuple):
    """The LoRA adapters that engines receive during a stage, in place of whole models."""

    rank: int
    versions: int
    """Versions of the adapter that can be in use at the same time."""


class Stage(Section, ABC):
    """The keys and the facts that all stages have."""

    produces: ClassVar[Product] = "language_model"
    own_scores: ClassVar[tuple[str, ...]] = ()
    """Scores that the stage measures on its own product; a product with none is evaluated by its held-out answers."""
    keeps_ledger: ClassVar[bool] = False
    """Whether ledger.jsonl records what became of every prompt."""
    without_effect: ClassVar[Mapping[str, Any]] = {"require": True}
    """Keys that do not change the product (as pydantic's `exclude` names them); the stage's hash leaves them out."""

    name: Name
    require: dict[str, Requirement] = Field(default_factory=dict)
    """Score -> bound, for example `pass@1: ">= 0.3"`; checked on the held-out evaluation after the stage."""

    @classmethod
    def kind_name(cls) -> str:
        """The value of the key `kind`, which every kind of stage declares for itself."""
        return get_args(cls.model_fields["kind"].annotation)[0]

    @property
    @abstractmethod
    def parents(self) -> tuple[Parent, ...]:
        """The artifacts that the stage is made from."""

    @property
    @abstractmethod
    def depends_on(self) -> frozenset[RecipePart]:
        """The parts of the recipe that decide the product beside the stage's own section, its data and its parents."""

    @abstractmethod
    def words(self, data_rows: int | None) -> Iterator[str]:
        """The lines that `rlpost check` prints about the stage.

        `data_rows` counts the rows of its data sets, held-out ones included; None where only loading would tell.
        """

    @property
    def data_sets(self) -> Sequence[str]:
        """The data sets that the stage reads."""
        return ()

    @property
    def data_use(self) -> Use | None:
        """What the stage does with the rows of its data sets; None where it reads none."""
        return None

    @property
    def judges(self) -> bool:
        """Whether the recipe's verifiers score something for the stage."""
        return False

    @property
    def samples_responses(self) -> SampledResponses | None:
        """How the stage samples responses; None where it needs no engine."""
        return None

    @property
    def training(self) -> TrainedStage | None:
        """The stage itself where a learner trains its product."""
        return None

    @property
    def sends_adapter(self) -> SentAdapter | None:
        """The adapters that engines receive during the stage; None where they receive none."""
        return None

    @property
    def score_parts(self) -> Mapping[str, float]:
        """Named part of the verdicts -> weight, from `advantage.parts`; empty where the verdict's own score counts."""
        return {}

    @property
    def is_evaluated(self) -> bool:
        """Whether held-out prompts are answered with the product."""
        return self.produces == "language_model"

    def contradictions(self, *, earlier: Mapping[str, Product], deterministic: bool) -> Iterator[Problem]:
        """Keys of the stage that cannot hold together, with paths that begin at the stage.

        Args:
            earlier: The artifacts before the stage, `base` included, and what they are.
            deterministic: What the recipe says.
        """
        yield from ()

    def settings(self) -> dict[str, Any]:
        """The stage's own keys that decide its product, as plain data."""
        return self.model_dump(mode="json", exclude=dict(self.without_effect))


class TrainedStage(Stage):
    """A stage whose product is trained by a learner."""

    row_word: ClassVar[Literal["row", "pair"]] = "row"
    """What an optimizer step counts."""
    rows_key: ClassVar[str] = "rows_per_step"
    """The key that sets the rows of an optimizer step."""
    sequences_per_row: ClassVar[int] = 1
    """2 for preference pairs, which stay together in one micro-batch."""
    head: ClassVar[Literal["language_model", "score"]] = "language_model"
    """What the learner trains: a causal language model, or a sequence classifier with one label."""
    without_effect: ClassVar[Mapping[str, Any]] = {
        "require": True,
        "start": True,
        "learner": {"checkpoint_every": True, "keep_checkpoints": True},
    }

    start: Name | None = None
    """The stage whose model this one starts from; by default the last one before it that is a language model."""
    data: list[Name] = Field(min_length=1, description="names of data sets, their rows mixed")
    optimizer: OptimizerConfig
    learner: LearnerConfig = LearnerConfig()
    lora: LoraConfig | None = None

    @property
    def parents(self) -> tuple[Parent, ...]:
        """See `Stage`."""
        return (Parent(("start",), role="start", name=self.start, accepts=frozenset({"language_model"})),)

    @property
    def depends_on(self) -> frozenset[RecipePart]:
        """See `Stage`. Held-out prompts are taken out of the training data."""
        always: frozenset[RecipePart] = frozenset(
            {"model.dtype", "model.max_length", "held_out", "seed", "deterministic"}
        )
        judging: frozenset[RecipePart] = frozenset({"rewards"} if self.judges else ())
        return always | judging

    @property
    def data_sets(self) -> Sequence[str]:
        """See `Stage`."""
        return self.data

    @property
    def training(self) -> TrainedStage | None:
        """See `Stage`."""
        return self

    @property
    @abstractmethod
    def rows_per_optimizer_step(self) -> int:
        """Rows, pairs or responses that one optimizer step learns from."""

    @abstractmethod
    def optimizer_steps(self, data_rows: int | None) -> int | None:
        """Optimizer steps of the whole stage; None where only the data says it."""

    @property
    def keeps_reference(self) -> bool:
        """Whether the learner holds a frozen copy of the start."""
        return False

    @property
    def critic(self) -> ValueConfig | None:
        """The value model beside the policy; None where there is none."""
        return None

    @property
    def publishes_weights(self) -> bool:
        """Whether engines receive the learner's weights during the stage."""
        return False

    def contradictions(self, *, earlier: Mapping[str, Product], deterministic: bool) -> Iterator[Problem]:
        """See `Stage`."""
        if self.lora is not None and self.lora.sync == "adapter" and not self.publishes_weights:
            text = f"`adapter` says what engines get in RL; a {self.kind_name()} stage sends them nothing: remove it"
            yield Problem(path=("lora", "sync"), text=text)
