"""Turns a recipe and a cluster into running parts and a run. Only this module knows every implementation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import transformers

from rlpost.errors import ClusterError, DamagedWeightsError, LearnerLostError
from rlpost.interfaces import Generator, Learner, Parts, Scorer, WeightStore
from rlpost.learner.rank import LearnerRank
from rlpost.learner.torchrun import TorchrunLearner, serve, start_rank, stop_ranks
from rlpost.pipeline.artifacts import Manifest, text_hash
from rlpost.pipeline.control import take_wanted_actors
from rlpost.pipeline.gold_check import check_golds
from rlpost.pipeline.prepare import prepare
from rlpost.pipeline.run import Pipeline
from rlpost.pipeline.run_directory import RunDirectory
from rlpost.pipeline.selection import Selection
from rlpost.pipeline.summary import show_summary
from rlpost.platform.disk_space import room_for
from rlpost.platform.processor import slow_format_lines
from rlpost.recipe.arithmetic import remote_code_lines
from rlpost.recipe.environment import hidden
from rlpost.recipe.load import LoadedRecipe, write_resolved
from rlpost.recipe.model_layout import weight_paths
from rlpost.recipe.schema import ClusterConfig, Recipe
from rlpost.rollout.vllm_settings import engine_environment
from rlpost.scoring.scorer import RoutedScorer
from rlpost.settings import EngineSettings, LearnerSettings
from rlpost.stages.stopping import StopRequest
from rlpost.telemetry.console import Console
from rlpost.telemetry.stall_report import Part
from rlpost.telemetry.waits import WAITS
from rlpost.telemetry.watchdog import watching
from rlpost.weight_file import manifest_of_model_dir
from rlpost.weight_sync.store import SharedMemoryStore, default_directory

if TYPE_CHECKING:
    from rlpost.cluster.generator_pool import GeneratorPool
    from rlpost.cluster.learner_group import LearnerGroup
    from rlpost.cluster.placement import Placement

_QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}


def run_recipe(
    loaded: LoadedRecipe,
    cluster: ClusterConfig,
    *,
    first: str | None,
    last: str | None,
    go_on_with: str | None,
    fresh: bool,
    stop: StopRequest,
) -> list[Manifest]:
    """Run the recipe's stages, and return the manifests of the finished ones, base first.

    All checks that need no device are made before the first actor starts.
    """
    recipe, console = loaded.recipe, Console(hidden)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    selection = Selection.of(recipe, first=first, last=last, go_on_with=go_on_with)
    if cluster.launcher == "torchrun":
        rank = start_rank(cluster.learner.device, timeout_s=cluster.step_timeout_s)
        if os.environ["RANK"] != "0":
            serve(rank)
            return []
        parts_of = TorchrunParts(rank)
    else:
        parts_of = RayParts(recipe, cluster, console)
    run = RunDirectory(Path(recipe.output))
    with room_for(run.root), parts_of as parts:
        run.claim(recipe.name, fresh=fresh)
        write_resolved(loaded, run.root)
        for line in (*remote_code_lines(recipe), *slow_format_lines(recipe, cluster)):
            console.say(line)
        prepared = prepare(recipe, run, console, where=cluster.data)
        check_golds(recipe, prepared.data, say=console.say)
        pipeline = Pipeline(
            recipe=recipe,
            cluster=cluster,
            run=run,
            parts=parts,
            console=console,
            data=prepared.data,
            identities=prepared.identities,
            base=prepared.base,
            stop=stop,
            can_generate=cluster.launcher == "ray" and cluster.rollout.actors > 0,
        )
        with watching(
            WAITS,
            report_after_s=cluster.watchdog.report_after_s,
            folder=run.root / "stalls",
            look=parts_of.look,
            say=console.say,
        ):
            manifests = pipeline.execute(selection)
    show_summary(run, manifests, console)
    return manifests


class RayParts:
    """Implements `interfaces.Parts` with learner ranks and engines as Ray actors, during a with-block.

    A part starts only when it is needed: a run whose stages are all finished starts no cluster.
    """

    def __init__(self, recipe: Recipe, cluster: ClusterConfig, console: Console) -> None:
        self._recipe, self._cluster, self._console = recipe, cluster, console
        self._stack = ExitStack()
        self._learners: LearnerGroup | None = None
        self._generator: GeneratorPool | None = None
        self._weights: SharedMemoryStore | None = None
        self._scorer: RoutedScorer | None = None
        self._served: tuple[Path, int] | None = None
        """The artifact that engines hold, and the number of publications before they received it."""

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look(self) -> Sequence[Part]:
        """Return the current processes of the run, with their stacks."""
        seen = [] if self._learners is None else self._learners.seen()
        seen += [] if self._generator is None else self._generator.seen()
        if not seen:
            return []
        from rlpost.cluster.actor_stacks import parts_of

        return parts_of(seen)

    def prepare(self, model_dir: Path) -> None:
        """See `Parts`. Learner ranks and engines start concurrently."""
        if self._learners is not None:
            return
        # A learner under torchrun runs without ray, so this import is delayed.
        from rlpost.cluster.learner_group import LearnerGroup
        from rlpost.cluster.placement import Placement
        from rlpost.cluster.session import ray_session

        self._stack.enter_context(ray_session(self._cluster))
        placement = Placement(self._cluster)
        threads = {"OMP_NUM_THREADS": str(self._cluster.learner.threads)}
        self._learners = LearnerGroup(self._cluster, placement, environment=_QUIET | threads)
        if self._cluster.rollout.actors > 0:
            self._start_engines(model_dir, placement)

    def _start_engines(self, model_dir: Path, placement: Placement) -> None:
        from rlpost.cluster.generator_pool import GeneratorPool

        role = self._cluster.rollout
        self._generator = GeneratorPool(
            self._cluster,
            placement,
            engine=_engine_settings(self._recipe, self._cluster, model_dir),
            environment=_QUIET | engine_environment(role.device, role.threads),
            deterministic=self._recipe.deterministic,
            wanted_actors=partial(take_wanted_actors, Path(self._recipe.output)),
            say=self._console.say,
        )
        self._stack.callback(self._generator.close)
        byte_count = sum(file.stat().st_size for file in weight_paths(model_dir))
        # Containers that share this machine's memory may each have a folder of this name.
        output = Path(self._recipe.output).resolve()
        run_name = text_hash(f"{output} {output.stat().st_dev} {output.stat().st_ino}")[:16]
        directory = default_directory(run_name, byte_count=byte_count)
        self._weights = SharedMemoryStore(directory, self._generator)
        self._served = (model_dir, self._weights.published)
        self._stack.callback(self._weights.close)

    def build_learner(self, settings: LearnerSettings) -> Learner:
        """See `Parts`."""
        self.prepare(Path(settings.model_dir))
        assert self._learners is not None
        return self._learners.build(settings)

    @property
    def generator(self) -> Generator:
        """See `Parts`."""
        if self._generator is None:
            raise ClusterError(
                "this run generates text and rollout.actors is 0: set it to 1 or more in the cluster file"
            )
        return self._generator

    @property
    def weights(self) -> WeightStore:
        """See `Parts`."""
        assert self._weights is not None, "prepare comes first"
        return self._weights

    @property
    def scorer(self) -> Scorer:
        """See `Parts`."""
        if self._scorer is None:
            rewards = self._recipe.judging()
            assert rewards is not None, "check refuses a recipe that scores without rewards"
            self._scorer = RoutedScorer(rewards, workers=self._cluster.scoring.workers)
            self._stack.callback(self._scorer.close)
        return self._scorer

    def recover(self, error: LearnerLostError | DamagedWeightsError) -> None:
        """See `Parts`."""
        assert self._learners is not None, "a learner that was never built cannot be lost"
        self._learners.recover(error)
        if self._generator is not None:
            self._generator.abandon()

    def serve(self, model_dir: Path) -> None:
        """See `Parts`."""
        self.prepare(model_dir)
        wanted = (model_dir, 0 if self._weights is None else self._weights.published)
        if self._served != wanted:
            self.generator.pull_weights(manifest_of_model_dir(model_dir, version=0), keep_kv_cache=False)
            self._served = wanted


def _engine_settings(recipe: Recipe, cluster: ClusterConfig, model_dir: Path) -> EngineSettings:
    """Return the settings of every engine of the run, with room for the largest adapter that any stage sends."""
    role, model = cluster.rollout, recipe.model
    adapters = [stage.sends_adapter for stage in recipe.stages if stage.sends_adapter is not None]
    return EngineSettings(
        model_dir=str(model_dir.resolve()),
        device=role.device,
        tensor_parallel=role.tensor_parallel,
        max_length=model.max_length,
        max_concurrent=role.max_concurrent,
        kv_cache_mib=role.kv_cache_mib,
        memory_fraction=role.memory_fraction,
        dtype=model.dtype,
        trust_remote_code=model.trust_remote_code,
        weight_version=0,
        lora_rank=max((adapter.rank for adapter in adapters), default=None),
        lora_versions=max((adapter.versions for adapter in adapters), default=1),
    )


class TorchrunParts:
    """Implements `interfaces.Parts` for supervised stages; parts that need an engine raise an error."""

    def __init__(self, rank: LearnerRank) -> None:
        self._rank = rank

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        stop_ranks(self._rank)

    def look(self) -> Sequence[Part]:
        """Return no parts: torchrun owns the other ranks, and the driver is rank 0 itself."""
        return []

    def prepare(self, model_dir: Path) -> None:
        """Do nothing, since there is nothing to start."""

    def build_learner(self, settings: LearnerSettings) -> Learner:
        """See `Parts`."""
        return TorchrunLearner(self._rank, settings)

    @property
    def generator(self) -> Generator:
        """Raise an error: torchrun has no engines."""
        raise _no_engines()

    @property
    def scorer(self) -> Scorer:
        """Raise an error: torchrun has no engines."""
        raise _no_engines()

    @property
    def weights(self) -> WeightStore:
        """Raise an error: torchrun has no engines."""
        raise _no_engines()

    def recover(self, error: LearnerLostError | DamagedWeightsError) -> None:
        """Do nothing: torchrun restarts its own ranks."""
        raise error

    def serve(self, model_dir: Path) -> None:
        """Raise an error: torchrun has no engines."""
        raise _no_engines()


def _no_engines() -> ClusterError:
    return ClusterError("launcher: torchrun has no engines to generate with: run this stage with launcher: ray")
