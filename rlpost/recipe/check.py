"""Finds the problems of a recipe on a cluster that can be known before data is loaded; no torch, a fraction of a
second.

Each check is a small function that yields problems. `rlpost.scoring` checks verifiers, because it knows them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from rlpost.errors import ModelError, RecipeError
from rlpost.recipe.arithmetic import generates
from rlpost.recipe.check_starts import start_problems
from rlpost.recipe.columns import Missing, Use, missing_role
from rlpost.recipe.generated_params import param_problems
from rlpost.recipe.model_families import family_problems
from rlpost.recipe.model_layout import model_config
from rlpost.recipe.nearest import nearest_words, some_of
from rlpost.recipe.paths import BUILTIN_TEMPLATE, HUB_NAME, exists
from rlpost.recipe.problems import Problem
from rlpost.recipe.schema import BASE, ClusterConfig, Recipe
from rlpost.recipe.sections import FILE_KINDS, DataConfig, SamplingConfig, TokenizerTraining
from rlpost.recipe.stages import AnyStage, Product, TrainedStage
from rlpost.recipe.yaml_tree import KeyPath

_MOST_LAYERS = 10_000
"""Building the configuration of more takes longer and longer, and no model has a tenth of them."""
SMALLEST_HEAD_SIZE_ON_CPU = 32
"""vLLM's attention on CPU has no kernel for smaller heads (measured: 16 fails on the first request)."""


def problems(recipe: Recipe, cluster: ClusterConfig, *, verifier_reads: Mapping[str, Collection[str]]) -> list[Problem]:
    """Return every problem that will stop the run and can be known now; the paths are the recipe's.

    `verifier_reads`: data set -> the roles (`gold`) and columns that its verifier needs.
    """
    found = [*_data_names(recipe), *_files(recipe), *_columns(recipe, verifier_reads), *_model(recipe, cluster)]
    found += [*_generated(recipe), *_sizes(recipe)]
    found += family_problems(recipe)
    for index, stage in enumerate(recipe.stages):
        found += start_problems(recipe, index)
        found += _stage(stage, index=index, recipe=recipe, cluster=cluster)
    if recipe.evaluate is not None:
        found += _room_for_prompt(recipe.evaluate.sampling, path=("evaluate", "sampling"), recipe=recipe)
    return [*found, *_roles(recipe, cluster)]


def score_names(samples: int) -> tuple[str, ...]:
    """Return the scores that an evaluation with this many samples per prompt reports; a gate may name them."""
    passes = ("pass@1",) if samples == 1 else ("pass@1", f"pass@{samples}")
    return (*passes, "mean_score", "truncated", "mean_tokens")


def _used_data(recipe: Recipe) -> Iterator[tuple[KeyPath, str, Use | None]]:
    """Yield every mention of a data set: its place, its name, and its use (None: to train a tokenizer)."""
    if isinstance(recipe.model.tokenizer, TokenizerTraining):
        for i, name in enumerate(recipe.model.tokenizer.data):
            yield ("model", "tokenizer", "data", i), name, None
    for index, stage in enumerate(recipe.stages):
        for i, name in enumerate(stage.data_sets):
            yield ("stages", index, "data", i), name, stage.data_use
    if recipe.evaluate is not None:
        for i, name in enumerate(recipe.evaluate.data):
            yield ("evaluate", "data", i), name, "judging"


def _data_names(recipe: Recipe) -> Iterator[Problem]:
    for path, name, _ in _used_data(recipe):
        if name not in recipe.data:
            yield Problem(path=path, text=f"no data set is called {name!r}; {nearest_words(name, recipe.data)}")


def _files(recipe: Recipe) -> Iterator[Problem]:
    for name, config in recipe.data.items():
        if _lacks_its_file(config):
            rest = config.source.partition(":")[2]
            text = f"the file {rest} does not exist: paths are relative to the recipe's folder or the working directory"
            yield Problem(path=("data", name, "source"), text=text)


def _columns(recipe: Recipe, verifier_reads: Mapping[str, Collection[str]]) -> Iterator[Problem]:
    for path, name, use in _used_data(recipe):
        config = recipe.data.get(name)
        if config is None or use is None or _lacks_its_file(config):
            continue
        try:
            missing = missing_role(config, use=use, verifier_reads=verifier_reads.get(name, ()))
        except RecipeError as error:
            yield Problem(path=("data", name, "source"), text=str(error))
            continue
        if missing is not None:
            found = f"the columns of {name!r} are"
            if missing.line is not None:
                found = f"line {missing.line} of {name!r} has values in"
            text = f"needs {missing.role}, but {found} {some_of(missing.found)}"
            yield Problem(path=path, text=f"{text}: {_column_remedy(name, missing)}")


def _generated(recipe: Recipe) -> Iterator[Problem]:
    for name, config in recipe.data.items():
        kind, _, task = config.source.partition(":")
        if kind == "reasoning_gym":
            for found in param_problems(task, config.params):
                yield Problem(path=("data", name, "params", *filter(None, [found.name])), text=found.text)


def _sizes(recipe: Recipe) -> Iterator[Problem]:
    """Find sizes of a new model that are no whole numbers."""
    for key, value in (recipe.model.config or {}).items():
        is_size = key.startswith("num_") or key.endswith("_size") or key == "head_dim"
        if is_size and value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            text = f"must be a whole number, as all sizes of a model; found {value!r}"
            yield Problem(path=("model", "config", key), text=text)
        elif key in ("num_hidden_layers", "n_layer") and isinstance(value, int) and value > _MOST_LAYERS:
            yield Problem(path=("model", "config", key), text=f"must be at most {_MOST_LAYERS:,}; found {value:,}")


def _column_remedy(name: str, missing: Missing) -> str:
    if missing.named is not None:
        role, column = missing.named
        return f"data.{name}.columns.{role} names {column!r}; {nearest_words(column, missing.found)}"
    remedy = f"set data.{name}.columns"
    return f"{remedy} or data.{name}.solution" if "response" in missing.role else remedy


def _lacks_its_file(config: DataConfig) -> bool:
    kind, _, rest = config.source.partition(":")
    is_path = kind in FILE_KINDS or (kind == "hf" and _is_path(rest))
    return is_path and not exists(Path(rest))


def _stage(stage: AnyStage, *, index: int, recipe: Recipe, cluster: ClusterConfig) -> Iterator[Problem]:
    path: KeyPath = ("stages", index)
    sampled = stage.samples_responses
    if sampled is not None:
        yield from _room_for_prompt(sampled.config, path=(*path, *sampled.key), recipe=recipe)
    evaluated = [] if recipe.evaluate is None else recipe.evaluate.data
    if stage.data_sets and set(stage.data_sets) <= set(evaluated):
        yield Problem(
            path=(*path, "data"),
            text="must have rows that are not evaluated: held-out prompts are left out of training, and evaluate.data "
            f"has {', '.join(stage.data_sets)} too: train on another data set, or evaluate on another",
        )
    earlier: dict[str, Product] = {
        name: recipe.product_of(name) for name in (BASE, *(other.name for other in recipe.stages[:index]))
    }
    for found in stage.contradictions(earlier=earlier, deterministic=recipe.deterministic):
        yield Problem(path=(*path, *found.path), text=found.text)
    if stage.training is not None:
        yield from _micro_batch(stage.training, path=path, recipe=recipe)
        yield from _batch_size(stage.training, path=path, ranks=cluster.learner.ranks)
    yield from _gates(stage, path=path, recipe=recipe)


def _room_for_prompt(sampling: SamplingConfig, *, path: KeyPath, recipe: Recipe) -> Iterator[Problem]:
    longest = recipe.model.max_length
    if sampling.max_tokens >= longest:
        yield Problem(
            path=(*path, "max_tokens"),
            text=f"must be less than model.max_length ({longest}), which holds prompt and response together; found "
            f"{sampling.max_tokens}: lower it or raise model.max_length",
        )


def _micro_batch(stage: TrainedStage, *, path: KeyPath, recipe: Recipe) -> Iterator[Problem]:
    longest = recipe.longest_row(stage.name)
    if longest > recipe.model.max_length:
        yield Problem(
            path=(*path, "max_length"),
            text=f"must be at most model.max_length ({recipe.model.max_length}), found {longest}: lower it, or raise "
            "model.max_length",
        )
    needed = longest * stage.sequences_per_row
    found = stage.learner.micro_batch_tokens
    if found < needed:
        what = "one sequence" if stage.sequences_per_row == 1 else "one pair of sequences"
        yield Problem(
            path=(*path, "learner", "micro_batch_tokens"),
            text=f"must hold at least {what} of max_length ({longest}), found {found}: set {needed} or more, or lower "
            "max_length of the stage or of the model",
        )


def _batch_size(stage: TrainedStage, *, path: KeyPath, ranks: int) -> Iterator[Problem]:
    rows = stage.rows_per_optimizer_step
    if rows < ranks:
        yield Problem(
            path=(*path, stage.rows_key),
            text=f"an optimizer step has {rows} rows, fewer than the {ranks} learner ranks: raise it, or lower "
            "learner.ranks in the cluster file",
        )


def _gates(stage: AnyStage, *, path: KeyPath, recipe: Recipe) -> Iterator[Problem]:
    if stage.own_scores:
        known = stage.own_scores
    elif recipe.evaluate is not None:
        known = score_names(recipe.evaluate.samples)
    else:
        if stage.require:
            text = "a gate needs scores: add the section `evaluate`, or remove it"
            yield Problem(path=(*path, "require"), text=text)
        return
    for score in stage.require:
        if score not in known:
            text = f"the evaluation reports no such score; {nearest_words(score, known)}"
            yield Problem(path=(*path, "require", score), text=text)


def _model(recipe: Recipe, cluster: ClusterConfig) -> Iterator[Problem]:
    model = recipe.model
    if model.path is not None and _is_path(model.path) and not exists(Path(model.path) / "config.json"):
        text = f"must be a model directory with config.json, or a name on a hub; {model.path} is neither"
        yield Problem(path=("model", "path"), text=text)
    if isinstance(model.tokenizer, str) and _is_path(model.tokenizer) and not exists(Path(model.tokenizer)):
        yield Problem(path=("model", "tokenizer"), text=f"the tokenizer directory {model.tokenizer} does not exist")
    template = model.chat_template
    if template is not None and not template.startswith(BUILTIN_TEMPLATE) and not exists(Path(template)):
        text = (
            f"the Jinja file {template} does not exist: give a file, `rlpost:plain`, `rlpost:tulu` or `rlpost:tulu_bos`"
        )
        yield Problem(path=("model", "chat_template"), text=text)
    if generates(recipe) and cluster.rollout.device == "cpu":
        yield from _head_size(recipe)


def _is_path(text: str) -> bool:
    return text.startswith(("/", ".", "~")) or HUB_NAME.fullmatch(text) is None or exists(Path(text))


def _head_size(recipe: Recipe) -> Iterator[Problem]:
    path = ("model", "config" if recipe.model.path is None else "path")
    try:
        config = _model_config(recipe)
    except ModelError as error:
        yield Problem(path=path, text=str(error))
        return
    head_dim = config.get("head_dim")
    if head_dim is None:
        width, heads = config.get("hidden_size"), config.get("num_attention_heads")
        if not isinstance(width, int) or not isinstance(heads, int) or heads < 1:
            return
        head_dim = width // heads
    if isinstance(head_dim, int) and head_dim < SMALLEST_HEAD_SIZE_ON_CPU:
        yield Problem(
            path=path,
            text=f"vLLM on CPU needs attention heads of at least {SMALLEST_HEAD_SIZE_ON_CPU}, found {head_dim} "
            "(head_dim, or hidden_size / num_attention_heads): set another shape, or rollout.device: cuda",
        )


def _model_config(recipe: Recipe) -> Mapping[str, Any]:
    """Return the model's configuration, as far as the recipe or the disk has it."""
    if recipe.model.config is not None:
        return recipe.model.config
    assert recipe.model.path is not None
    if not exists(Path(recipe.model.path) / "config.json"):
        return {}
    return model_config(Path(recipe.model.path))


def _roles(recipe: Recipe, cluster: ClusterConfig) -> Iterator[Problem]:
    users = " and ".join(generates(recipe))
    if users and cluster.launcher == "torchrun":
        what, remedy = "starts learners only (launcher: torchrun)", "use launcher: ray"
        yield Problem(
            path=("stages",), text=f"cluster {cluster.name!r} {what}, but responses are sampled for {users}: {remedy}"
        )
    elif users and cluster.rollout.actors == 0:
        what, remedy = "has no rollout actors", "set rollout.actors in the cluster file"
        yield Problem(
            path=("stages",), text=f"cluster {cluster.name!r} {what}, but responses are sampled for {users}: {remedy}"
        )
    if cluster.launcher == "torchrun":
        for index, stage in enumerate(recipe.stages):
            if stage.judges and stage.samples_responses is None:
                text = (
                    f"needs verifiers, and cluster {cluster.name!r} starts learners only (launcher: torchrun): use "
                    "launcher: ray, or leave out what is judged"
                )
                yield Problem(path=("stages", index), text=text)
    learner = cluster.learner
    if learner.device == "cpu" and cluster.cpus is not None and learner.ranks > cluster.cpus:
        text = f"the cluster {cluster.name!r} has {cluster.cpus} CPUs (cpus) for {learner.ranks} learner ranks"
        yield Problem(path=(), text=f"{text}: raise cpus or lower learner.ranks in the cluster file")
