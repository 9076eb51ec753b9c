"""Turns pydantic's validation errors into problems with the wording and paths of the recipe.

Pydantic adds the labels of union members to an error's location (`stages.2.grpo.steps`), and reports one error for each
member of a union that did not fit. Here the labels are removed, and the errors of one value become one problem.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rlpost.errors import shortened
from rlpost.recipe.nearest import nearest_words
from rlpost.recipe.plugin_reference import FORMS
from rlpost.recipe.problems import Problem
from rlpost.recipe.yaml_tree import KeyPath, Node, nearest_node

_EXPECTED_TYPE = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}

_NAMES_ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "lr": ("learning_rate", "optimizer.learning_rate"),
    "learning_rate": ("optimizer.learning_rate",),
    "batch_size": ("rows_per_step", "prompts_per_step"),
    "train_batch_size": ("rows_per_step", "prompts_per_step"),
    "global_batch_size": ("rows_per_step", "prompts_per_step"),
    "per_device_train_batch_size": ("rows_per_step", "prompts_per_step"),
    "gradient_accumulation_steps": ("learner.micro_batch_tokens",),
    "num_epochs": ("epochs",),
    "num_train_epochs": ("epochs",),
    "max_steps": ("steps",),
    "num_generations": ("samples_per_prompt",),
    "max_new_tokens": ("max_tokens", "sampling.max_tokens"),
    "max_completion_length": ("max_tokens", "sampling.max_tokens"),
    "temperature": ("sampling.temperature",),
    "max_seq_length": ("max_length",),
    "max_seq_len": ("max_length",),
    "warmup_steps": ("warmup_ratio", "optimizer.warmup_ratio"),
    "lr_scheduler_type": ("schedule", "optimizer.schedule"),
    "dataset": ("data",),
    "datasets": ("data",),
    "model_name_or_path": ("path",),
    "output_dir": ("output",),
}
"""Names of keys in other frameworks -> our names, each used where its first part is a key."""
_LONGEST_VALUE = 120
"""Most characters of a value that a message quotes."""


def problems_of(error: ValidationError, *, model: type[BaseModel], root: Node) -> list[Problem]:
    """Return all problems of a document that does not fit `model`, in the order of its keys."""
    located = [_Located(details, _trail(model, details["loc"])) for details in error.errors(include_url=False)]
    problems: list[Problem] = []
    for index, item in enumerate(located):
        union = item.trail.union
        siblings = [other for other in located if union is not None and other.trail.union == union]
        if len(siblings) < 2:
            problems.append(_problem(item, root=root))
        elif any(len(other.trail.path) > len(union or ()) for other in siblings):
            # One member of the union nearly fitted, so only the error inside it is reported.
            if len(item.trail.path) > len(union or ()):
                problems.append(_problem(item, root=root))
        elif item is next(other for other in located[: index + 1] if other.trail.union == union):
            expected = " or ".join(_expected(other.details) for other in siblings)
            problems.append(Problem(path=item.trail.path, text=_expected_found(expected, item, root=root)))
    return problems


class _Trail(NamedTuple):
    """An error's location without pydantic's labels."""

    path: KeyPath
    section: type[BaseModel] | None
    """The section that was searched for the last key."""
    union: KeyPath | None
    """Path of the value that several types were tried on."""
    kind: str
    """The `kind` of that section, if it is one of several kinds."""
    other_kinds: Mapping[str, type[BaseModel]]
    """The other kinds, and their sections."""


class _Located(NamedTuple):
    details: ErrorDetails
    trail: _Trail


def _trail(model: type[BaseModel], location: Sequence[str | int]) -> _Trail:
    annotation: Any = model
    path: KeyPath = ()
    section: type[BaseModel] | None = None
    union: KeyPath | None = None
    label, kinds = "", dict[str, type[BaseModel]]()
    kind, other_kinds = label, kinds
    for part in location:
        members = _members(annotation)
        if part == "[key]":
            continue
        if len(members) > 1:
            annotation, is_tag = _labelled(members, str(part))
            union = union if is_tag else path
            label = str(part) if is_tag else ""
            kinds = _sections_by_kind(members) if is_tag else {}
            continue
        annotation = members[0]
        section = annotation if _is_section(annotation) else None
        kind, other_kinds, label, kinds = label, kinds, "", {}
        annotation = _below(annotation, part)
        path = (*path, part)
    return _Trail(path, section, union, kind, other_kinds)


def _members(annotation: Any) -> list[Any]:
    """Return the types that a value may have, without None."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) if part is not type(None) for member in _members(part)]
    return [annotation]


def _labelled(members: list[Any], label: str) -> tuple[Any, bool]:
    """Return the member of a union with this label, and whether the label is the value of its `kind`."""
    by_kind = _sections_by_kind(members)
    if label in by_kind:
        return by_kind[label], True
    for member in filter(_is_section, members):
        if label == member.__name__:
            return member, False
        if label == FORMS and "kind" in member.model_fields and member not in by_kind.values():
            return member, True
    return Any, False


def _sections_by_kind(members: list[Any]) -> dict[str, type[BaseModel]]:
    """Return the sections among the members of a union, by the values of their `kind`."""
    return {
        kind: member
        for member in members
        if _is_section(member) and "kind" in member.model_fields
        for kind in get_args(member.model_fields["kind"].annotation)
    }


def _below(annotation: Any, part: str | int) -> Any:
    if _is_section(annotation):
        return _written_keys(annotation).get(str(part), Any)
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return arguments[1]
    return arguments[0] if get_origin(annotation) in (list, tuple) else Any


def _written_keys(section: type[BaseModel] | None) -> dict[str, Any]:
    """Return the keys of a section as a recipe writes them, and the types of their values."""
    fields = section.model_fields.items() if section is not None else ()
    return {field.alias or name: field.annotation for name, field in fields}


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _problem(item: _Located, *, root: Node) -> Problem:
    details, trail = item
    context: Mapping[str, Any] = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            text = _unknown_key(trail)
        case "missing":
            text = "is required but missing"
        case "value_error":
            text = str(context["error"])
        case "union_tag_invalid":
            kinds = str(context["expected_tags"]).replace("'", "").split(", ")
            found = shortened(repr(context["tag"]), most=_LONGEST_VALUE)
            text = f"unknown kind {found}; {nearest_words(str(context['tag']), kinds)}"
        case "union_tag_not_found":
            text = "`kind` is required but missing: it says which sort of stage this is"
        case _:
            text = _expected_found(_expected(details), item, root=root)
    return Problem(path=trail.path, text=text)


def _unknown_key(trail: _Trail) -> str:
    key = str(trail.path[-1])
    owners = [kind for kind, section in trail.other_kinds.items() if key in _written_keys(section)]
    if owners:
        remedy = (
            "a plug-in's settings belong in `params`" if trail.kind == FORMS else f"found kind: {trail.kind}: remove it"
        )
        return f"belongs to kind: {' or '.join(owners)}; {remedy}"
    known = _written_keys(trail.section)
    ours = next((ours for ours in _NAMES_ELSEWHERE.get(key, ()) if ours.partition(".")[0] in known), None)
    return "unknown key; " + (nearest_words(key, known) if ours is None else f"here it is called `{ours}`")


def _expected(details: ErrorDetails) -> str:
    kind = details["type"]
    context: Mapping[str, Any] = details.get("ctx", {})
    if kind in _EXPECTED_TYPE:
        return _EXPECTED_TYPE[kind]
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"{words} {context[key]:g}"
    match kind:
        case "literal_error":
            return str(context["expected"])
        case "string_pattern_mismatch":
            return f"text of the form {context['pattern']}"
        case "too_short":
            return f"at least {context['min_length']} entries"
        case "string_too_long":
            return f"at most {context['max_length']} characters"
        case "too_long":
            return f"at most {context['max_length']} entries"
        case _:
            return details["msg"]


def _expected_found(expected: str, item: _Located, *, root: Node) -> str:
    node = nearest_node(root, item.trail.path)
    if item.details["loc"][-1:] == ("[key]",):
        return f"expected a key {expected}, found {shortened(repr(item.details['input']), most=_LONGEST_VALUE)}"
    return f"expected {expected}, found {found_words(node)}"


def found_words(node: Node) -> str:
    """Describe a value; a value from the environment is shown as it is written, never by its content."""
    if node.template is not None:
        return f"the value of {node.template}"
    value = node.value
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return f"the text {shortened(repr(value), most=_LONGEST_VALUE)}" if isinstance(value, str) else str(value)
