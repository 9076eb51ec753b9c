"""A recipe's stages in order: skip what is finished, run what is not, evaluate, hold gates, write the summary."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rlpost.data.library import DataLibrary
from rlpost.evaluate.held_out import check_gate, score_groups
from rlpost.pipeline.artifacts import MODEL, Manifest, read_manifest, write_manifest
from rlpost.pipeline.lineage import evaluation_hash, stage_inputs_hash
from rlpost.pipeline.publish import publish_artifact
from rlpost.pipeline.run_directory import RunDirectory, StagePaths
from rlpost.pipeline.selection import Selection
from rlpost.pipeline.summary import write_summary
from rlpost.recipe.schema import ClusterConfig, Recipe
from rlpost.recipe.stages import AnyStage, CptStage, DpoStage, GrpoStage, SftStage
from rlpost.stages.context import Parts, StageContext
from rlpost.stages.cpt import run_cpt
from rlpost.stages.dpo import run_dpo
from rlpost.stages.grpo import run_grpo
from rlpost.stages.sft import run_sft
from rlpost.telemetry.console import Console


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """One run of one recipe."""

    recipe: Recipe
    cluster: ClusterConfig
    run: RunDirectory
    parts: Parts
    console: Console
    data: DataLibrary
    base: Manifest
    can_generate: bool
    """Whether there are engines; without them nothing is evaluated."""

    def execute(self, selection: Selection) -> list[Manifest]:
        """Run the selected stages; returns the manifests of all finished ones, base first.

        Raises:
            GateError: a stage's held-out score is outside its bound; the stage itself is finished and kept.
        """
        manifests = [self.base]
        if self.can_generate and self.recipe.evaluate is not None and self.recipe.model.path is not None:
            manifests[0] = self._evaluate(self.run.base, self.base)
        for number, stage in enumerate(self.recipe.stages, start=1):
            paths, parent = self.run.stage(number, stage.name), manifests[-1]
            if selection.is_after_end(stage.name):
                later = self._matching(stage, paths, parent)
                if later is None:
                    break
                manifests.append(later)
                continue
            manifest = self._finished(stage, paths, parent, redo=selection.must_redo(stage.name))
            if manifest is None:
                manifest = self._run_stage(stage, paths, parent)
            if self.can_generate and self.recipe.evaluate is not None:
                manifest = self._evaluate(paths, manifest)
            manifests.append(manifest)
            write_summary(self.run, self.recipe, manifests)
            check_gate(stage.name, manifest.scores, stage.require if self.can_generate else {})
        write_summary(self.run, self.recipe, manifests)
        return manifests

    def _finished(self, stage: AnyStage, paths: StagePaths, parent: Manifest, *, redo: bool) -> Manifest | None:
        for folder in (paths.final, paths.work):
            if redo and folder.exists():
                shutil.rmtree(folder)
        manifest = self._matching(stage, paths, parent)
        if manifest is not None:
            self.console.say(f"{stage.name}: finished before with the same inputs, skipped")
        return manifest

    def _matching(self, stage: AnyStage, paths: StagePaths, parent: Manifest) -> Manifest | None:
        """The finished artifact of this stage, if it was made from the same inputs."""
        manifest = read_manifest(paths.final)
        wanted = stage_inputs_hash(self.recipe, stage, parent_hash=parent.model_hash)
        return manifest if manifest is not None and manifest.inputs_hash == wanted else None

    def _run_stage(self, stage: AnyStage, paths: StagePaths, parent: Manifest) -> Manifest:
        started = time.perf_counter()
        inputs_hash = stage_inputs_hash(self.recipe, stage, parent_hash=parent.model_hash)
        resuming = paths.begin(inputs_hash)
        self.console.say(f"{stage.name}: {'resuming' if resuming else 'starting'}")
        self.parts.prepare(self._parent_dir(parent))
        if (paths.work / MODEL).exists():
            shutil.rmtree(paths.work / MODEL)
        context = self._context(stage, model_dir=self._parent_dir(parent), directory=paths.work)
        run_of_kind(stage)(context)
        self.data.format.tokenizer.save_pretrained(str(paths.work / MODEL))
        parents = {parent.stage: parent.model_hash}
        manifest = publish_artifact(
            paths,
            self.recipe,
            stage=stage.name,
            kind=stage.kind,
            parents=parents,
            started=started,
            inputs_hash=inputs_hash,
        )
        # Only now: a stage that was cut off before it was published goes on from them.
        shutil.rmtree(paths.final / "checkpoints", ignore_errors=True)
        return manifest

    def _parent_dir(self, parent: Manifest) -> Path:
        names = ["base", *(stage.name for stage in self.recipe.stages)]
        number = names.index(parent.stage)
        return (self.run.base if number == 0 else self.run.stage(number, parent.stage)).final / MODEL

    def _evaluate(self, paths: StagePaths, manifest: Manifest) -> Manifest:
        config = self.recipe.evaluate
        assert config is not None
        wanted = evaluation_hash(self.recipe, model_hash=manifest.model_hash)
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

    def _context(self, stage: AnyStage, *, model_dir: Path, directory: Path) -> StageContext:
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
        )


def run_of_kind(stage: AnyStage) -> Callable[[StageContext], None]:
    """The loop that runs this kind of stage."""
    match stage:
        case CptStage():
            return lambda context: run_cpt(context, stage)
        case SftStage():
            return lambda context: run_sft(context, stage)
        case DpoStage():
            return lambda context: run_dpo(context, stage)
        case GrpoStage():
            return lambda context: run_grpo(context, stage)
