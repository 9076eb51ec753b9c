"""Runs a recipe's stages in order: reuse or run each stage, evaluate it, check its gate, and write the summary."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rlpost.data.library import DataLibrary
from rlpost.errors import DamagedWeightsError, LearnerLostError
from rlpost.evaluate.held_out import check_gate, score_groups
from rlpost.interfaces import Parts
from rlpost.pipeline.artifacts import MODEL, Manifest, hash_model, read_manifest, write_manifest
from rlpost.pipeline.lineage import DataIdentities, evaluation_hash, parent_key, stage_inputs_hash
from rlpost.pipeline.publish import publish_artifact
from rlpost.pipeline.run_directory import Begun, RunDirectory, StagePaths
from rlpost.pipeline.selection import Selection
from rlpost.pipeline.summary import write_summary
from rlpost.recipe.schema import BASE, ClusterConfig, Recipe
from rlpost.recipe.stages import AnyStage, Parent, Product, Role
from rlpost.stages.context import StageContext
from rlpost.stages.registry import Scores, run_stage
from rlpost.stages.stopping import StopRequest
from rlpost.telemetry.console import Console


class FoundParent(NamedTuple):
    """An artifact that a stage starts from: its path and its content."""

    parent: Parent
    name: str
    """A stage, `base`, or a model directory."""
    directory: Path
    model_hash: str
    produces: Product


@dataclass(frozen=True, kw_only=True)
class StageInputs:
    """One stage, its folders, and the artifacts that it starts from."""

    stage: AnyStage
    paths: StagePaths
    parents: tuple[FoundParent, ...]
    inputs_hash: str

    @property
    def parent_hashes(self) -> dict[str, str]:
        """Name of each parent -> hash of its model files."""
        return {found.name: found.model_hash for found in self.parents}

    @property
    def parent_dirs(self) -> dict[Role, tuple[Path, ...]]:
        """Role -> the model directories of the parents with this role."""
        roles: list[Role] = [found.parent.role for found in self.parents]
        return {role: tuple(found.directory for found in self.parents if found.parent.role == role) for role in roles}


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
        """Run the selected stages, and return the manifests of all finished ones, base first.

        Raises:
            GateError: a stage's held-out score violates its bound; the stage itself is finished and kept.
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
                manifest = self._run_stage(inputs, selection)
            if self.can_generate and self.recipe.evaluate is not None and stage.is_evaluated:
                manifest = self._evaluate(inputs.paths, manifest)
            manifests.append(manifest)
            write_summary(self.run, self.recipe, manifests)
            check_gate(stage.name, manifest.scores, stage.require if self.can_generate or stage.own_scores else {})
        write_summary(self.run, self.recipe, manifests)
        return manifests

    def _inputs(self, stage: AnyStage, paths: StagePaths, finished: list[Manifest]) -> StageInputs:
        by_name = {manifest.stage: manifest for manifest in finished}
        parents = tuple(self._found(parent, name, by_name) for parent, name in self.recipe.parents_of(stage))
        hashes = {parent_key(found.parent): found.model_hash for found in parents}
        inputs_hash = stage_inputs_hash(self.recipe, stage, parents=hashes, data=self.identities)
        return StageInputs(stage=stage, paths=paths, parents=parents, inputs_hash=inputs_hash)

    def _found(self, parent: Parent, name: str, finished: Mapping[str, Manifest]) -> FoundParent:
        if self.recipe.is_artifact(name):
            manifest = finished[name]
            return FoundParent(parent, name, self._model_dir(name), manifest.model_hash, manifest.produces)
        # A given directory is identified by its content, and has the kind that its role requires.
        directory = Path(name)
        (product,) = parent.accepts
        return FoundParent(parent, name, directory, hash_model(directory)[0], product)

    def _finished(self, inputs: StageInputs, *, redo: bool) -> Manifest | None:
        if redo:
            # The finished model stays until the new one replaces it.
            aside = inputs.paths.set_aside()
            if aside is not None:
                self.console.say(f"{inputs.stage.name}: runs again, as --from asks; work under way is kept in {aside}")
            return None
        manifest = self._matching(inputs)
        if manifest is not None:
            self.console.say(f"{inputs.stage.name}: finished before with the same inputs, skipped")
        return manifest

    def _matching(self, inputs: StageInputs) -> Manifest | None:
        """Return the finished artifact of this stage, if it was made from the same inputs."""
        manifest = read_manifest(inputs.paths.final)
        return manifest if manifest is not None and manifest.inputs_hash == inputs.inputs_hash else None

    def _run_stage(self, inputs: StageInputs, selection: Selection) -> Manifest:
        started = time.perf_counter()
        stage, paths = inputs.stage, inputs.paths
        begun = paths.begin(inputs.inputs_hash, settings=stage.settings(), go_on=selection.goes_on_with(stage.name))
        self._say_begun(stage.name, begun)
        if paths.final.exists() and not selection.must_redo(stage.name):
            self.console.say(
                f"{stage.name}: the finished model is of other inputs; it stays in {paths.final} until the new one is "
                "finished, and is then replaced: copy it if you want to keep it"
            )
        if stage.training is not None or stage.samples_responses is not None:
            self.parts.prepare(self._engines_start(inputs))
        self.stop.listen()
        context = self._context(stage, parent_dirs=inputs.parent_dirs, directory=paths.work)
        scores = self._outliving_parts(context)
        self.data.format.save(paths.work / MODEL)
        manifest = publish_artifact(
            paths,
            self.recipe,
            stage=stage.name,
            kind=stage.kind,
            produces=stage.produces,
            parents=inputs.parent_hashes,
            started=started,
            inputs_hash=inputs.inputs_hash,
            scores=scores,
            went_on=paths.went_on(),
        )
        # Removed only now: a stage that is interrupted before this point resumes from them.
        shutil.rmtree(paths.final / "checkpoints", ignore_errors=True)
        return manifest

    def _say_begun(self, stage: str, begun: Begun) -> None:
        differs = f"differs in {', '.join(begun.changed)}" if begun.changed else "is from other data, parents or code"
        if begun.set_aside is not None:
            self.console.say(
                f"{stage}: earlier work {differs}, so the stage begins anew; that work is kept in {begun.set_aside}. "
                f"To go on with it instead, stop this run and start it again with --go-on-with {stage}; to be rid of "
                "it, remove the folder"
            )
        elif begun.went_on:
            self.console.say(f"{stage}: going on with earlier work that {differs}, as --go-on-with asks")
        self.console.say(f"{stage}: {'resuming' if begun.resuming else 'starting'}")

    def _outliving_parts(self, context: StageContext) -> Scores:
        """Run the stage to its end; resume from its last checkpoint if a rank dies or weights are damaged in
        transit.
        """
        while True:
            if context.output_dir.exists():
                shutil.rmtree(context.output_dir)  # An incomplete model.
            try:
                return run_stage(context)
            except LearnerLostError as error:
                self.console.say(f"{context.stage.name}: {error}; all ranks start again from the last checkpoint")
                self.parts.recover(error)
            except DamagedWeightsError as error:
                self.console.say(f"{context.stage.name}: {error}; the stage goes on from its last checkpoint")
                self.parts.recover(error)

    def _engines_start(self, inputs: StageInputs) -> Path:
        """Return the language model that engines start with; a reward model cannot be used for that."""
        start = inputs.parents[0]
        if start.produces == "language_model":
            return start.directory
        return self._model_dir(self.recipe.language_model_before(inputs.stage))

    def _model_dir(self, name: str) -> Path:
        names = [BASE, *(stage.name for stage in self.recipe.stages)]
        return self.run.stage(names.index(name), name).final / MODEL

    def _evaluate(self, paths: StagePaths, manifest: Manifest) -> Manifest:
        config = self.recipe.evaluate
        assert config is not None
        wanted = evaluation_hash(self.recipe, model_hash=manifest.model_hash, data=self.identities)
        if manifest.evaluation_hash == wanted:
            return manifest
        prompts = self.data.held_out_prompts(max_tokens=config.sampling.max_tokens).prompts
        self.parts.serve(paths.final / MODEL)
        stage = next((stage for stage in self.recipe.stages if stage.name == manifest.stage), self.recipe.stages[0])
        context = self._context(stage, parent_dirs={"start": (paths.final / MODEL,)}, directory=paths.final)
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
        self, stage: AnyStage, *, parent_dirs: Mapping[Role, tuple[Path, ...]], directory: Path
    ) -> StageContext:
        return StageContext(
            recipe=self.recipe,
            cluster=self.cluster,
            stage=stage,
            parent_dirs=parent_dirs,
            directory=directory,
            output_dir=directory / MODEL,
            data=self.data,
            parts=self.parts,
            console=self.console,
            stop=self.stop,
        )
