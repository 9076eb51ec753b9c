"""The two documents that define a run: a recipe (what to train) and a cluster file (where to run)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from rlpost.recipe.rewards import RewardNode, RewardsConfig
from rlpost.recipe.sections import DataConfig, EvaluateConfig, ModelConfig, Name, Section, Seed
from rlpost.recipe.stages import BASE, AnyStage, Parent, Product


class ExtraMetadata(Section):
    """Free notes by the recipe's author."""

    description: str = ""
    sources: dict[str, Any] = Field(default_factory=dict)


class Recipe(Section):
    """A recipe: one model and the ordered list of stages that train it."""

    name: Name
    output: str
    """Directory of the run, relative to the working directory of the command."""
    seed: Seed = 0
    deterministic: bool = False
    """Seeds per request, fixed assignment and order, fixed threads: a run repeats bit for bit on the same machine."""
    notes: ExtraMetadata = ExtraMetadata()
    model: ModelConfig
    data: dict[Name, DataConfig]
    rewards: RewardsConfig | None = None
    stages: list[AnyStage] = Field(min_length=1)
    evaluate: EvaluateConfig | None = None

    @model_validator(mode="after")
    def _names_agree(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"stage names must differ; {', '.join(twice)} is used more than once")
        if BASE in names:
            raise ValueError(
                f"`{BASE}` is the name of the artifact before the first stage; give the stage another name"
            )
        return self

    def stage_called(self, name: str) -> AnyStage | None:
        """Return the stage with this name; None for `base` and for any other name that is not a stage."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def longest_row(self, name: str) -> int:
        """Return the most tokens of a sequence in the stage with this name, or in the evaluation."""
        stage = self.stage_called(name)
        own = None if stage is None or stage.training is None else stage.training.own_max_length
        return own or self.model.max_length

    def product_of(self, name: str) -> Product:
        """Return the kind of product of `base` or of the stage with this name."""
        stage = self.stage_called(name)
        return "language_model" if stage is None else stage.produces

    def parents_of(self, stage: AnyStage) -> tuple[tuple[Parent, str], ...]:
        """Return the artifacts that the stage starts from: `base`, stages, or model directories, each by its name."""
        return tuple((parent, parent.name or self.language_model_before(stage)) for parent in stage.parents)

    def is_artifact(self, name: str) -> bool:
        """Whether a parent's name is `base` or a stage, and not a model directory."""
        return name == BASE or self.stage_called(name) is not None

    def language_model_before(self, stage: AnyStage) -> str:
        """Return the last stage before this one that produces a language model, or `base`."""
        before = self.stages[: self.stages.index(stage)]
        models = [earlier.name for earlier in before if earlier.produces == "language_model"]
        return models[-1] if models else BASE

    def judging(self) -> RewardsConfig | None:
        """The rewards in force: those of the recipe, and each reasoning-gym data set without a route is judged by its
        own task.
        """
        written = self.rewards or RewardsConfig(routes={})
        if written.route_by != "dataset" or "*" in written.routes:
            return self.rewards
        own = {
            name: RewardNode(verifier="reasoning_gym")
            for name in self.judged_data()
            if name in self.data and name not in written.routes and self.data[name].source.startswith("reasoning_gym:")
        }
        return written.model_copy(update={"routes": {**written.routes, **own}}) if own else self.rewards

    def judged_data(self) -> dict[str, str]:
        """Return data set -> the parts of the recipe that need scores of its samples."""
        users: dict[str, str] = {}
        for stage in self.stages:
            if stage.judges:
                users.update(dict.fromkeys(stage.data_sets, f"stage {stage.name}"))
        if self.evaluate is not None:
            users.update(dict.fromkeys(self.evaluate.data, "evaluate"))
        return users


class LearnerRole(Section):
    """The learner ranks, which form one FSDP group."""

    ranks: int = Field(default=1, ge=1)
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=2, ge=1)
    """CPU threads of one rank."""
    max_restarts: int = Field(default=3, ge=0)
    """Most deaths of ranks within ten minutes after which all ranks continue from the last checkpoint; one more ends
    the run. The same number limits deaths in a row without an optimizer step beyond the furthest one before. Weights
    that are damaged on their way to the engines are counted and handled in the same way."""
    silence_timeout_s: float | None = Field(default=None, gt=0)
    """Longest duration of one call of the learner: a step, a checkpoint, an export. A learner that takes longer is
    considered hung, and watchdog.on_stall decides what follows. By default step_timeout_s."""


class RolloutRole(Section):
    """The vLLM engines."""

    actors: int = Field(default=1, ge=0)
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=2, ge=1)
    tensor_parallel: int = Field(default=1, ge=1)
    """Devices of one engine."""
    max_concurrent: int = Field(default=256, ge=1)
    """Most responses that one engine decodes at once."""
    kv_cache_mib: int = Field(default=256, ge=16)
    """Size of the KV cache on CPU; on CUDA see memory_fraction."""
    memory_fraction: float = Field(default=0.85, gt=0, le=1)
    """Share of a CUDA device for weights and KV cache."""
    max_restarts: int = Field(default=10, ge=0)
    """Most deaths of engines within ten minutes that are followed by a restart; one more ends the run."""
    silence_timeout_s: float = Field(default=120, gt=0)
    """An engine that is silent for this long, busy or idle, is killed and counts as dead; watchdog.on_stall may end the
    run instead."""


class ScoringRole(Section):
    """The verifier processes."""

    workers: int = Field(default=1, ge=1)


class WatchdogConfig(Section):
    """Reports and actions for a run that makes no progress."""

    report_after_s: float = Field(default=120, gt=0)
    """Time without progress before a report. The report lists all waits, and the stacks of all processes."""
    on_stall: Literal["restart", "stop"] = "restart"
    """The action when a learner or an engine hangs for longer than its silence_timeout_s: new processes, or the end of
    the run. A learner that hangs again without progress ends the run in any case."""


class PreparationRole(Section):
    """Where rows are tokenised, before the first stage, and where the result is kept for the next run."""

    cache_dir: str = "~/.cache/rlpost"
    """Folder for tokenised rows; it may be deleted at any time, and what is needed is made again."""
    processes: int | None = Field(default=None, ge=1)
    """Processes that tokenise large data sets; by default one for each core."""


class ClusterConfig(Section):
    """Where a run takes place. It holds no hyperparameters: the same recipe gives the same model on any cluster."""

    name: Name
    launcher: Literal["ray", "torchrun"] = "ray"
    """`torchrun` runs supervised stages on machines without ray and vLLM; torchrun starts the ranks."""
    address: str | None = None
    """Address of a running Ray cluster, or `auto` for the one on this machine; by default a private cluster is
    started."""
    cpus: int | None = Field(default=None, ge=1)
    """Logical CPUs of a private Ray cluster."""
    gpus_per_node: int = Field(default=0, ge=0)
    nodes: int = Field(default=1, ge=1)
    learner: LearnerRole = LearnerRole()
    rollout: RolloutRole = RolloutRole()
    scoring: ScoringRole = ScoringRole()
    data: PreparationRole = PreparationRole()
    watchdog: WatchdogConfig = WatchdogConfig()
    start_timeout_s: float = Field(default=300, gt=0)
    """Longest wait for devices and for the start of an actor."""
    step_timeout_s: float = Field(default=1800, gt=0)
    """Longest wait for one learner step, one weight sync, or one rollout."""

    @model_validator(mode="after")
    def _devices_suffice(self) -> ClusterConfig:
        wanted = self.learner.ranks * (self.learner.device == "cuda")
        wanted += self.rollout.actors * self.rollout.tensor_parallel * (self.rollout.device == "cuda")
        have = self.gpus_per_node * self.nodes
        if wanted > have:
            raise ValueError(
                f"the roles need {wanted} GPUs (learner ranks + rollout actors x tensor_parallel) but the cluster has "
                f"{have} (nodes x gpus_per_node): lower learner.ranks or rollout.actors, or raise gpus_per_node"
            )
        return self
