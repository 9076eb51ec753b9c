"""A recipe's stages in order: skip what is finished, run what is not, evaluate, hold gates, write the summary."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rlpost.data.library import DataLibrary
from rlpost.errors import DamagedWeightsError, LearnerLostError
from rlpost.evaluate.held_out import check_gate, score_groups
from rlpost.interfaces import Parts
from rlpost.pipeline.artifacts import MODEL, Manifest, read_manifest, write_manifest
from rlpost.pipeline.lineage import DataIdentities, evaluation_hash, stage_inputs_hash
from rlpost.pipeline.publish import publish_artifact
from rlpost.pipeline.run_directory import RunDirectory, StagePaths
from rlpost.pipeline.selection import Selection
from rlpost.pipeline.summary import write_summary
from rlpost.recipe.schema import BASE, ClusterConfig, Recipe
from rlpost.recipe.stages import AnyStage, CptStage, DpoStage, GrpoStage, PpoStage, RewardModelStage, SftStage
from rlpost.stages.context import StageContext
from rlpost.stages.cpt import run_cpt
from rlpost.stages.dpo import run_dpo
from rlpost.stages.reward_model import run_reward_model
from rlpost.stages.rl.loop import run_rl
from rlpost.stages.sft import run_sft
from rlpost.stages.stopping import StopRequest
from rlpost.telemetry.console import Console


@dataclass(frozen=True, kw_only=True)
class StageInputs:
    """One stage, where it goes, and the artifacts that it is made from."""

    stage: AnyStage
    paths: StagePaths
    start: Manifest
    critic: Manifest | None
    """The reward model that a value model starts from."""
    inputs_hash: str

    @property
    def parents(self) -> dict[str, str]:
        """Stage -> hash of its model files."""
        both = (self.start, self.critic)
        return {parent.stage: parent.model_hash for parent in both if parent is not None}


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """One run of one recipe."""

    recipe: Recipe
    cluster: ClusterConfig
    run: RunDirectory
    parts: Parts
    console: Console
    data: DataLibrary
    identities: DataIdentities
    base: Manifest
    stop: StopRequest
    can_generate: bool
    """Whether there are engines; without them nothing is evaluated."""

    def execute(self, selection: Selection) -> list[Manifest]:
        """Run the selected stages; returns the manifests of all finished ones, base first.

        Raises:
            GateError: a stage's held-out score is outside its bound; the stage itself is finished and kept.
        PreemptedError: the run was asked to stop.
        """
        manifests = [self.base]
        if self.can_generate and self.recipe.evaluate is not None and self.recipe.model.path is not None:
            manifests[0] = self._evaluate(self.run.base, self.base)
        for number, stage in enumerate(self.recipe.stages, start=1):
            self.stop.raise_if_requested(f"before stage {stage.name}")
            inputs = self._inputs(stage, self.run.stage(number, stage.name), manifests)
            if selection.is_after_end(stage.name):
                later = self._matching(inputs)
                if later is None:
                    break
                manifests.append(later)
                continue
            manifest = self._finished(inputs, redo=selection.must_redo(stage.name))
            if manifest is None:
                manifest = self._run_stage(inputs)
            measures_itself = isinstance(stage, RewardModelStage)
            if self.can_generate and self.recipe.evaluate is not None and not measures_itself:
                manifest = self._evaluate(inputs.paths, manifest)
            manifests.append(manifest)
            write_summary(self.run, self.recipe, manifests)
            check_gate(stage.name, manifest.scores, stage.require if self.can_generate or measures_itself else {})
        write_summary(self.run, self.recipe, manifests)
        return manifests

    def _inputs(self, stage: AnyStage, paths: StagePaths, finished: list[Manifest]) -> StageInputs:
        by_name = {manifest.stage: manifest for manifest in finished}
        start = by_name[self.recipe.start_of(stage)]
        critic_start = self.recipe.critic_start_of(stage)
        critic = None if critic_start is None else by_name[critic_start]
        inputs_hash = stage_inputs_hash(
            self.recipe,
            stage,
            start_hash=start.model_hash,
            critic_hash=None if critic is None else critic.model_hash,
            data=self.identities,
        )
        return StageInputs(stage=stage, paths=paths, start=start, critic=critic, inputs_hash=inputs_hash)

    def _finished(self, inputs: StageInputs, *, redo: bool) -> Manifest | None:
        for folder in (inputs.paths.final, inputs.paths.work):
            if redo and folder.exists():
                shutil.rmtree(folder)
        manifest = self._matching(inputs)
        if manifest is not None:
            self.console.say(f"{inputs.stage.name}: finished before with the same inputs, skipped")
        return manifest

    def _matching(self, inputs: StageInputs) -> Manifest | None:
        """The finished artifact of this stage, if it was made from the same inputs."""
        manifest = read_manifest(inputs.paths.final)
        return manifest if manifest is not None and manifest.inputs_hash == inputs.inputs_hash else None

    def _run_stage(self, inputs: StageInputs) -> Manifest:
        started = time.perf_counter()
        stage, paths = inputs.stage, inputs.paths
        resuming = paths.begin(inputs.inputs_hash)
        self.console.say(f"{stage.name}: {'resuming' if resuming else 'starting'}")
        self.parts.prepare(self._engines_start(inputs))
        self.stop.listen()
        context = self._context(
            stage,
            model_dir=self._model_dir(inputs.start.stage),
            directory=paths.work,
            critic_dir=self._critic_dir(inputs),
        )
        scores = self._outliving_parts(context)
        self.data.format.tokenizer.save_pretrained(str(paths.work / MODEL))
        manifest = publish_artifact(
            paths,
            self.recipe,
            stage=stage.name,
            kind=stage.kind,
            parents=inputs.parents,
            started=started,
            inputs_hash=inputs.inputs_hash,
            scores=scores or {},
        )
        # Only now: a stage that was cut off before it was published goes on from them.
        shutil.rmtree(paths.final / "checkpoints", ignore_errors=True)
        return manifest

    def _outliving_parts(self, context: StageContext) -> dict[str, float] | None:
        """The stage to its end; from its last checkpoint when a rank dies or weights are damaged on their way."""
        run_to_end = run_of_kind(context.stage)
        while True:
            if context.output_dir.exists():
                shutil.rmtree(context.output_dir)  # Half of a model.
            try:
                return run_to_end(context)
            except LearnerLostError as error:
                self.console.say(f"{context.stage.name}: {error}; all ranks start again from the last checkpoint")
                self.parts.recover(error)
            except DamagedWeightsError as error:
                self.console.say(f"{context.stage.name}: {error}; the stage goes on from its last checkpoint")
                self.parts.recover(error)

    def _engines_start(self, inputs: StageInputs) -> Path:
        """A language model, which a reward model is not."""
        if inputs.start.kind == "reward_model":
            return self._model_dir(self.recipe.language_model_before(inputs.stage))
        return self._model_dir(inputs.start.stage)

    def _critic_dir(self, inputs: StageInputs) -> Path | None:
        if inputs.critic is not None:
            return self._model_dir(inputs.critic.stage)
        if isinstance(inputs.stage, PpoStage) and inputs.stage.value.start != "policy":
            return Path(inputs.stage.value.start)
        return None

    def _model_dir(self, name: str) -> Path:
        names = [BASE, *(stage.name for stage in self.recipe.stages)]
        return self.run.stage(names.index(name), name).final / MODEL

    def _evaluate(self, paths: StagePaths, manifest: Manifest) -> Manifest:
        config = self.recipe.evaluate
        assert config is not None
        wanted = evaluation_hash(self.recipe, model_hash=manifest.model_hash, data=self.identities)
        if manifest.evaluation_hash == wanted:
            return manifest
        prompts = self.data.held_out_prompts(max_tokens=config.sampling.max_tokens)
        self.parts.serve(paths.final / MODEL)
        stage = next((stage for stage in self.recipe.stages if stage.name == manifest.stage), self.recipe.stages[0])
        context = self._context(stage, model_dir=paths.final / MODEL, directory=paths.final)
        with self.console.progress(f"{manifest.stage}: evaluating", total=len(prompts), done=0) as progress:
            groups = context.collect_all(
                prompts,
                samples=config.samples,
                sampling=config.sampling.sampling(self.data.format.stop_token_ids),
                on_progress=lambda done: progress.step(done, {}),
            )
        evaluation = score_groups(groups, pass_score=config.pass_score)
        self.run.write_evaluation(paths, groups, evaluation.scores)
        manifest = replace(manifest, scores=evaluation.scores, evaluation_hash=wanted)
        write_manifest(paths.final, manifest)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in evaluation.scores.items())
        self.console.say(f"{manifest.stage}: held out ({evaluation.prompt_count} prompts): {shown}")
        return manifest

    def _context(
        self, stage: AnyStage, *, model_dir: Path, directory: Path, critic_dir: Path | None = None
    ) -> StageContext:
        return StageContext(
            recipe=self.recipe,
            cluster=self.cluster,
            stage=stage,
            model_dir=model_dir,
            directory=directory,
            output_dir=directory / MODEL,
            data=self.data,
            parts=self.parts,
            console=self.console,
            critic_dir=critic_dir,
            stop=self.stop,
        )


def run_of_kind(stage: AnyStage) -> Callable[[StageContext], dict[str, float] | None]:
    """The loop that runs this kind of stage; it returns the scores of a model that is not evaluated by its answers."""
    match stage:
        case CptStage():
            return lambda context: run_cpt(context, stage)
        case SftStage():
            return lambda context: run_sft(context, stage)
        case DpoStage():
            return lambda context: run_dpo(context, stage)
        case RewardModelStage():
            return lambda context: run_reward_model(context, stage)
        case GrpoStage() | PpoStage():
            return lambda context: run_rl(context, stage)
