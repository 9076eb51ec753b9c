"""The merge stage: makes one language model of several by arithmetic on their weights, without learner and engines."""

from __future__ import annotations

from rlpost.learner.merged_model import write_merged_model
from rlpost.learner.merging import Merge
from rlpost.recipe.model_layout import weight_files
from rlpost.recipe.stages import MergeStage
from rlpost.stages.context import StageContext


def run_merge(context: StageContext, stage: MergeStage) -> None:
    """Write the merged model into the stage's output folder."""
    sources, bases = context.parent_dirs["source"], context.parent_dirs.get("task_base", ())
    count = len(weight_files(sources[0]))
    with context.console.progress(f"{stage.name}: merging", total=count, done=0) as progress:

        def on_tensor(done: int) -> None:
            context.stop.raise_if_requested(f"after {done} of {count} tensors of {stage.name}")
            progress.step(done, {})

        write_merged_model(
            context.output_dir,
            sources=sources,
            base=bases[0] if bases else None,
            merge=Merge(
                method=stage.method,
                weights=tuple(source.weight for source in stage.sources),
                density=stage.kept_share,
                scale=stage.factor,
                seed=context.seed,
            ),
            dtype=context.recipe.model.dtype,
            on_tensor=on_tensor,
        )
