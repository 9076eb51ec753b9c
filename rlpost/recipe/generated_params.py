"""Checks the parameters of a reasoning-gym task against its configuration class, without importing the library.

Importing reasoning-gym takes longer than all of `rlpost check`. The class is therefore read as text: its fields with
their plain types, and the simple comparisons that its `validate` asserts. Anything that is not understood is left to
the task itself, which checks its parameters again before the first stage.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from rlpost.recipe.nearest import nearest_words

_PLAIN: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
_OURS: Mapping[str, str] = {"size": "rows", "seed": "seed"}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class ParamProblem(NamedTuple):
    """A parameter that the task would refuse; `name` is empty if several are wrong together."""

    name: str
    text: str


def param_problems(task: str, params: Mapping[str, Any]) -> Iterator[ParamProblem]:
    """Find parameters that the task would refuse, as far as its configuration class says so in plain words."""
    config = _config_class(task) if params else None
    if config is None:
        return
    types, values = _fields(config)
    for name, value in params.items():
        if name in _OURS:
            yield ParamProblem(name, f"is set by the data set's own {_OURS[name]}: remove it")
            return
        if name not in types:
            yield ParamProblem(name, f"the task {task} has no such parameter; {nearest_words(name, sorted(types))}")
            continue
        wanted = _PLAIN.get(types[name])
        if wanted is not None and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
            yield ParamProblem(name, f"must be of type {types[name]}; found {value!r}")
            return
    values.update(params)
    for comparison in _asserted(config):
        if _holds(comparison, values) is False:
            named = [name for name in params if f"self.{name}" in ast.unparse(comparison).split()]
            words = ast.unparse(comparison).replace("self.", "")
            found = ", ".join(f"{name} is {values[name]!r}" for name in named)
            yield ParamProblem(named[0] if len(named) == 1 else "", f"the task {task} needs {words}; {found}")
            return


def _config_class(task: str) -> ast.ClassDef | None:
    """Return the configuration class that is registered for the task."""
    package = find_spec("reasoning_gym")
    if package is None or not package.submodule_search_locations:
        return None
    for path in sorted(Path(package.submodule_search_locations[0]).rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if "register_dataset(" not in text or f'"{task}"' not in text:
            continue
        module = ast.parse(text)
        names = {
            target.id: node.value.value
            for node in module.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
        for call in (node for node in ast.walk(module) if isinstance(node, ast.Call)):
            arguments = call.args
            if not isinstance(call.func, ast.Name) or call.func.id != "register_dataset" or len(arguments) < 3:
                continue
            key, config = arguments[0], arguments[2]
            registered = key.value if isinstance(key, ast.Constant) else names.get(getattr(key, "id", ""))
            if registered == task and isinstance(config, ast.Name):
                return classes.get(config.id)
    return None


def _fields(config: ast.ClassDef) -> tuple[dict[str, str], dict[str, Any]]:
    """Return field -> type as it is written, and field -> default where it is a plain value."""
    fields = [node for node in config.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    types: dict[str, str] = {}
    defaults: dict[str, Any] = {}
    for field in fields:
        assert isinstance(field.target, ast.Name)
        types[field.target.id] = ast.unparse(field.annotation)
        if isinstance(field.value, ast.Constant):
            defaults[field.target.id] = field.value.value
    return types, defaults


def _asserted(config: ast.ClassDef) -> Iterator[ast.Compare]:
    """Yield the comparisons that the class asserts unconditionally in `validate`."""
    for method in config.body:
        if isinstance(method, ast.FunctionDef) and method.name == "validate":
            for statement in method.body:
                if isinstance(statement, ast.Assert) and isinstance(statement.test, ast.Compare):
                    yield statement.test


def _holds(comparison: ast.Compare, values: Mapping[str, Any]) -> bool | None:
    """Return whether a comparison of fields and numbers holds; None if it has anything else in it."""
    operands = [_value(operand, values) for operand in (comparison.left, *comparison.comparators)]
    compare = [_COMPARE.get(type(kind)) for kind in comparison.ops]
    if any(operand is None for operand in operands) or any(function is None for function in compare):
        return None
    return all(
        function(left, right)
        for function, left, right in zip(compare, operands[:-1], operands[1:], strict=True)
        if function is not None
    )


def _value(operand: ast.expr, values: Mapping[str, Any]) -> float | None:
    if isinstance(operand, ast.Constant):
        found = operand.value
    elif isinstance(operand, ast.Attribute) and isinstance(operand.value, ast.Name) and operand.value.id == "self":
        found = values.get(operand.attr)
    else:
        return None
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None
