"""The facts that every stage states about itself, and the keys that all stages have.

Code outside this package never asks for the kind of a stage; it reads these facts. A new kind of stage only has to
state them, and check, arithmetic, lineage and pipeline handle it without a change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import Field

from rlpost.recipe.columns import Use
from rlpost.recipe.optimizer import OptimizerConfig
from rlpost.recipe.problems import Problem
from rlpost.recipe.rl import ValueConfig
from rlpost.recipe.sampler import AnySampler, ShuffledConfig
from rlpost.recipe.sections import LearnerConfig, LoraConfig, Name, SamplingConfig, Section
from rlpost.recipe.yaml_tree import KeyPath

BASE = "base"
"""Name of the artifact before the first stage."""
Requirement = Annotated[str, Field(pattern=r"^\s*(>=|>|<=|<)\s*-?\d+(\.\d+)?\s*$")]
TrainedTurns = Literal["all", "last"]
"""The turns of the assistant that a demonstration trains."""
Product = Literal["language_model", "reward_model"]
"""A language model can answer, be evaluated, and be the start of any stage; a reward model gives scores."""
Role = Literal["start", "critic", "source", "task_base"]
"""`start`: the model that a stage begins from; `critic`: the model that a value model begins from; `source`: a model
that is merged with others; `task_base`: the model that the task vectors of a merge are differences to."""
RecipePart = Literal["base", "model.dtype", "model.max_length", "held_out", "rewards", "seed", "deterministic"]
"""A part of the recipe, outside the stage's own section and its data sets, that can affect a stage's result."""


class Parent(NamedTuple):
    """An artifact that a stage starts from."""

    key: KeyPath
    """Path of the stage's key that names it."""
    role: Role
    name: str | None
    """A stage, `base`, or a model directory if the role allows one; None for the last language model before the
    stage."""
    accepts: frozenset[Product]


class SampledResponses(NamedTuple):
    """The settings with which a stage samples responses."""

    key: KeyPath
    """Path of the stage's key that holds the settings."""
    config: SamplingConfig


class SentAdapter(NamedTuple):
    """The LoRA adapters that engines receive during a stage instead of whole models."""

    rank: int
    versions: int
    """Number of versions of the adapter that can be in use at the same time."""


class Stage(Section, ABC):
    """The keys and the facts that all stages have."""

    produces: ClassVar[Product] = "language_model"
    own_scores: ClassVar[tuple[str, ...]] = ()
    """Scores that the stage measures on its own product; without any, the product is evaluated by its held-out
    answers."""
    keeps_ledger: ClassVar[bool] = False
    """Whether ledger.jsonl records the outcome of every prompt."""
    without_effect: ClassVar[Mapping[str, Any]] = {"require": True}
    """Keys that do not change the product (in the form of pydantic's `exclude`); the stage's hash leaves them out."""

    name: Name
    require: dict[str, Requirement] = Field(default_factory=dict)
    """Score -> bound, for example `pass@1: ">= 0.3"`; checked on the held-out evaluation after the stage."""

    @classmethod
    def kind_name(cls) -> str:
        """The value of the key `kind`, which every kind of stage declares."""
        return get_args(cls.model_fields["kind"].annotation)[0]

    @property
    @abstractmethod
    def parents(self) -> tuple[Parent, ...]:
        """The artifacts that the stage starts from."""

    @property
    @abstractmethod
    def depends_on(self) -> frozenset[RecipePart]:
        """The parts of the recipe that affect the product, besides the stage's own section, its data and its
        parents.
        """

    @abstractmethod
    def words(self, data_rows: int | None) -> Iterator[str]:
        """Yield the lines that `rlpost check` prints about the stage.

        `data_rows` is the number of rows of its data sets, including held-out ones; None if it is known only after
        loading.
        """

    @property
    def data_sets(self) -> Sequence[str]:
        """The data sets that the stage reads."""
        return ()

    @property
    def data_use(self) -> Use | None:
        """The use of the rows of its data sets; None if it reads none."""
        return None

    @property
    def trained_turns(self) -> TrainedTurns:
        """Which of the assistant's turns in a demonstration are trained."""
        return "all"

    @property
    def judges(self) -> bool:
        """Whether the recipe's verifiers score anything for the stage."""
        return False

    @property
    def samples_responses(self) -> SampledResponses | None:
        """The settings for sampling responses; None if the stage needs no engine."""
        return None

    @property
    def training(self) -> TrainedStage | None:
        """The stage itself if a learner trains its product, else None."""
        return None

    @property
    def sends_adapter(self) -> SentAdapter | None:
        """The adapters that engines receive during the stage; None if they receive none."""
        return None

    @property
    def score_parts(self) -> Mapping[str, float]:
        """Name of a part of the verdicts -> weight, from `advantage.parts`; empty if the verdict's own score counts."""
        return {}

    @property
    def is_evaluated(self) -> bool:
        """Whether the product answers the held-out prompts."""
        return self.produces == "language_model"

    def contradictions(self, *, earlier: Mapping[str, Product], deterministic: bool) -> Iterator[Problem]:
        """Find keys of the stage that contradict each other; the paths begin at the stage.

        Args:
            earlier: The artifacts before the stage, including `base`, and their kinds.
            deterministic: The recipe's key `deterministic`.
        """
        yield from ()

    def settings(self) -> dict[str, Any]:
        """Return the stage's own keys that affect its product, as plain data."""
        return self.model_dump(mode="json", exclude=dict(self.without_effect))


class TrainedStage(Stage):
    """A stage whose product is trained by a learner."""

    row_word: ClassVar[Literal["row", "pair"]] = "row"
    """The unit that an optimizer step counts."""
    rows_key: ClassVar[str] = "rows_per_step"
    """The key that sets the number of rows per optimizer step."""
    sequences_per_row: ClassVar[int] = 1
    """1, or 2 for preference pairs, which stay together in one micro-batch."""
    scores_rows: ClassVar[bool] = False
    """Whether the sampler receives scores of the rows that it chose."""
    head: ClassVar[Literal["language_model", "score"]] = "language_model"
    """The model that is trained: a causal language model, or a sequence classifier with one label."""
    without_effect: ClassVar[Mapping[str, Any]] = {
        "require": True,
        "start": True,
        "learner": {"checkpoint_every": True, "keep_checkpoints": True},
    }

    start: Name | None = None
    """The stage whose model this one starts from; by default the last earlier stage that produces a language model."""
    data: list[Name] = Field(min_length=1, description="names of data sets, their rows mixed")
    sampler: AnySampler = ShuffledConfig()
    """The order in which the rows are used."""
    optimizer: OptimizerConfig
    learner: LearnerConfig = LearnerConfig()
    lora: LoraConfig | None = None
    overlong_prompts: Literal["refuse", "drop"] = "refuse"
    """Rows whose prompt leaves no room for an answer end the run before it begins, or are left out and counted."""
    dropout: bool = False
    """Whether the dropout of the model's own config acts in training. By default only in `cpt` and `sft`: the other
    stages compare the numbers of a training pass with those of a pass without dropout."""

    @property
    def parents(self) -> tuple[Parent, ...]:
        """See `Stage`."""
        return (Parent(("start",), role="start", name=self.start, accepts=frozenset({"language_model"})),)

    @property
    def depends_on(self) -> frozenset[RecipePart]:
        """See `Stage`. Held-out prompts are removed from the training data."""
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
        """Number of rows, pairs or responses per optimizer step."""

    @abstractmethod
    def optimizer_steps(self, data_rows: int | None) -> int | None:
        """Return the number of optimizer steps of the whole stage; None if it depends on the data."""

    @property
    def own_max_length(self) -> int | None:
        """Most tokens of a sequence in this stage; None for `model.max_length`."""
        return None

    @property
    def keeps_reference(self) -> bool:
        """Whether the learner holds a frozen copy of the start."""
        return False

    @property
    def critic(self) -> ValueConfig | None:
        """The value model beside the policy; None if there is none."""
        return None

    @property
    def publishes_weights(self) -> bool:
        """Whether engines receive the learner's weights during the stage."""
        return False

    def contradictions(self, *, earlier: Mapping[str, Product], deterministic: bool) -> Iterator[Problem]:
        """See `Stage`."""
        for problem in self.sampler.contradictions(data=self.data):
            yield replace(problem, path=("sampler", *problem.path))
        if self.sampler.learns_from_scores and not self.scores_rows:
            text = (
                f"{self.sampler.kind} learns from scores, and a {self.kind_name()} stage has none: use shuffled or "
                "mixture"
            )
            yield Problem(path=("sampler", "kind"), text=text)
        if self.lora is not None and self.lora.sync == "adapter" and not self.publishes_weights:
            text = f"`adapter` says what engines get in RL; a {self.kind_name()} stage sends them nothing: remove it"
            yield Problem(path=("lora", "sync"), text=text)
