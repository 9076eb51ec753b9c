"""Makes the relative paths of a recipe absolute.

A path is looked up in the folder of the file that contains it, then in the working directory. A text that names no
existing file is left alone if it may be the name of a model or data set on a hub.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from rlpost.recipe.plugin_reference import IN_FILE, plugins_of
from rlpost.recipe.rewards import RewardNode, RewardsConfig
from rlpost.recipe.schema import Recipe
from rlpost.recipe.sections import FILE_KINDS, DataConfig, ModelConfig
from rlpost.recipe.stages import AnyStage
from rlpost.recipe.yaml_tree import KeyPath, Node, nearest_node

BUILTIN_TEMPLATE = "rlpost:"
"""Prefix of the names of chat templates that come with rlpost."""
HUB_NAME = re.compile(r"(?=.{1,96}$)[\w.-]+(/[\w.-]+)?", re.ASCII)
"""Possible names of a model or data set on a hub; any other text can only be a path."""


def exists(path: Path) -> bool:
    """Whether the path exists; False for text that no file system accepts as a path."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises for a name that is too long


def resolve_paths(recipe: Recipe, *, root: Node) -> Recipe:
    """Return the recipe with absolute paths; `root` says in which file each path was written."""
    data = {name: _data_paths(config, root=root, name=name) for name, config in recipe.data.items()}
    stages = [
        _stage_plugins(_parent_paths(stage, recipe=recipe, root=root), index=index, root=root)
        for index, stage in enumerate(recipe.stages)
    ]
    return recipe.model_copy(
        update={
            "model": _model_paths(recipe.model, root=root),
            "data": data,
            "rewards": _reward_paths(recipe.rewards, root=root),
            "stages": stages,
        }
    )


def _model_paths(model: ModelConfig, *, root: Node) -> ModelConfig:
    def folder(key: str) -> Path:
        return nearest_node(root, ("model", key)).where.folder

    update: dict[str, str] = {}
    if model.path is not None:
        update["path"] = _file_or_name(model.path, folder=folder("path"))
    if isinstance(model.tokenizer, str):
        update["tokenizer"] = _file_or_name(model.tokenizer, folder=folder("tokenizer"))
    if model.chat_template is not None and not model.chat_template.startswith(BUILTIN_TEMPLATE):
        update["chat_template"] = str(_absolute(model.chat_template, folder=folder("chat_template")))
    return model.model_copy(update=update)


def _data_paths(config: DataConfig, *, root: Node, name: str) -> DataConfig:
    kind, _, rest = config.source.partition(":")
    folder = nearest_node(root, ("data", name, "source")).where.folder
    if kind in FILE_KINDS:
        rest = str(_absolute(rest, folder=folder))
    elif kind == "hf":
        rest = _file_or_name(rest, folder=folder)
    return config.model_copy(update={"source": f"{kind}:{rest}"})


def _reward_paths(rewards: RewardsConfig | None, *, root: Node) -> RewardsConfig | None:
    """Return the rewards with absolute paths for the files of verifiers."""
    if rewards is None:
        return None
    routes = {
        value: _verifier_paths(node, path=("rewards", "routes", value), root=root)
        for value, node in rewards.routes.items()
    }
    return rewards.model_copy(update={"routes": routes})


def _verifier_paths(node: RewardNode, *, path: KeyPath, root: Node) -> RewardNode:
    if node.verifier is not None:
        folder = nearest_node(root, (*path, "verifier")).where.folder
        return node.model_copy(update={"verifier": at_absolute_path(node.verifier, folder=folder)})
    return node.with_children(
        {below: _verifier_paths(child, path=(*path, *below), root=root) for below, child in node.children()}
    )


def at_absolute_path(reference: str, *, folder: Path) -> str:
    """Make the path in `path/to/file.py:name` absolute; return `module:name` as it is."""
    in_file = IN_FILE.fullmatch(reference)
    return reference if in_file is None else f"{_absolute(in_file[1], folder=folder)}{in_file[2]}"


def _stage_plugins(stage: AnyStage, *, index: int, root: Node) -> AnyStage:
    """Return the stage with absolute paths for the files of its plug-ins."""
    for use in plugins_of(stage):
        folder = nearest_node(root, ("stages", index, *use.path)).where.folder
        stage = _replaced(stage, use.path, at_absolute_path(use.reference, folder=folder))
    return stage


def _parent_paths(stage: AnyStage, *, recipe: Recipe, root: Node) -> AnyStage:
    """Return the stage with absolute paths for the parents that are model directories."""
    index, resolved = recipe.stages.index(stage), stage
    for parent in stage.parents:
        if parent.name is not None and not recipe.is_artifact(parent.name):
            folder = nearest_node(root, ("stages", index, *parent.key)).where.folder
            resolved = _replaced(resolved, parent.key, _file_or_name(parent.name, folder=folder))
    return resolved


def _replaced(value: Any, key: KeyPath, text: str) -> Any:
    """Return a section or list with this text at a nested key."""
    if not key:
        return text
    first, rest = key[0], key[1:]
    if isinstance(first, int):
        return [_replaced(item, rest, text) if place == first else item for place, item in enumerate(value)]
    return value.model_copy(update={first: _replaced(getattr(value, first), rest, text)})


def _absolute(text: str, *, folder: Path) -> Path:
    """Return the path in the folder if it exists there, else in the working directory, existing or not."""
    beside = folder / text
    return beside if exists(beside) else Path.cwd() / text


def _file_or_name(text: str, *, folder: Path) -> str:
    found = _absolute(text, folder=folder)
    return str(found) if exists(found) else text
