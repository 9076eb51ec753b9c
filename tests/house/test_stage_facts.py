"""A stage says what it is on its own class; nobody else asks which kind of stage is at hand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tracked_files import text_of, tracked

from rlpost.recipe import stages

OWN = "rlpost/recipe/stages/"
REGISTRY = Path("rlpost/stages/registry.py")
KINDS = set(stages.STAGE_CLASSES)
CLASSES = {name for name in stages.__all__ if name.endswith("Stage")}


def names_in(node: ast.AST) -> set[str]:
    """Every name and attribute below a node."""
    found = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return found | {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def is_kind(node: ast.AST) -> bool:
    """`x.kind`, `x["kind"]` or `x.get("kind")`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        return any(isinstance(part, ast.Constant) and part.value == "kind" for part in node.args)
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value == "kind"
    return isinstance(node, ast.Attribute) and node.attr == "kind"


def kinds_in(node: ast.AST) -> set[str]:
    """The kinds of stages that stand as text below a node."""
    texts = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    return texts & KINDS


def is_list_of_kinds(node: ast.AST) -> bool:
    """A list, set, tuple or the keys of a dict that holds nothing but kinds of stages, two or more."""
    parts: list[ast.expr | None] = []
    if isinstance(node, ast.Dict):
        parts = node.keys
    elif isinstance(node, ast.List | ast.Set | ast.Tuple):
        parts = [*node.elts]
    return len(parts) > 1 and all(isinstance(part, ast.Constant) and part.value in KINDS for part in parts)


def is_stage(node: ast.AST) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name == "stage" or name.endswith("_stage")


def asks(node: ast.AST) -> bool:
    """Whether this piece of code asks what a stage is."""
    match node:
        case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, classes]):
            return bool(names_in(classes) & CLASSES)
        case ast.Call(func=ast.Name(id="hasattr" | "getattr" | "type"), args=[first, *_]):
            return is_stage(first)
        case ast.MatchClass(cls=cls):
            return bool(names_in(cls) & CLASSES)
        case ast.Match(subject=subject):
            return is_kind(subject) and bool(kinds_in(node))
        case ast.Compare():
            sides = [node.left, *node.comparators]
            return any(map(is_kind, sides)) and any(kinds_in(side) for side in sides)
        case ast.Attribute(attr="__class__", value=value):
            return is_stage(value)
        case _:
            return is_list_of_kinds(node)


def questions(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if asks(node):
            yield f"line {getattr(node, 'lineno', '?')}: {ast.unparse(node)[:80]}"


def test_nobody_asks_what_a_stage_is_outside_its_own_class() -> None:
    files = [path for path in tracked("rlpost/**/*.py") if not str(path).startswith(OWN) and path != REGISTRY]
    assert Path("rlpost/pipeline/run.py") in files
    found = [f"{path}: {question}" for path in files for question in questions(text_of(path))]
    assert found == [], "give the stage's class a property that answers this, in rlpost/recipe/stages/"


def test_the_registry_is_the_one_table_of_kinds() -> None:
    assert len(list(questions(text_of(REGISTRY)))) == 1


@pytest.mark.parametrize(
    "question",
    [
        "isinstance(x, GrpoStage | PpoStage)",
        "isinstance(context.stage, recipe.stages.RlStage)",
        "issubclass(x, TrainedStage)",
        "match x:\n    case SftStage(): pass",
        "match x.kind:\n    case 'sft': pass",
        "x.kind == 'sft'",
        "x.kind in ('grpo', 'ppo')",
        "record['kind'] != 'reward_model'",
        "record.get('kind') == 'merge'",
        "RL = ('grpo', 'ppo')",
        "table = {'sft': 1, 'dpo': 2}",
        "hasattr(stage, 'kl')",
        "getattr(context.stage, 'kl', None)",
        "type(stage) is X",
        "stage.__class__",
    ],
)
def test_a_question_is_found(question: str) -> None:
    assert len(list(questions(question))) >= 1


@pytest.mark.parametrize(
    "fine",
    [
        "def run(stage: GrpoStage | PpoStage): return stage.critic is not None",
        "manifest.kind == 'full'",
        "print(stage.kind)",
        "isinstance(x, StageContext)",
        "use in ('cpt', 'pairs')",
        "getattr(config, 'kl')",
    ],
)
def test_what_asks_no_such_question_is_left_alone(fine: str) -> None:
    assert list(questions(fine)) == []
