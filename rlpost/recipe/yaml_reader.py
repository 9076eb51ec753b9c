"""Parses YAML text into a tree of plain values with their lines.

Only the core of YAML 1.2 is accepted: `1e-3` is a number; `on`, `off`, `yes` and `no` are text; tags, aliases and
duplicate keys are rejected. `${env:NAME}` and `${env:NAME:-default}` are replaced here, so that a message can name the
line of an unset variable.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import yaml

from rlpost.errors import RecipeError
from rlpost.recipe.environment import REFERENCE, read_variable
from rlpost.recipe.problems import Problem
from rlpost.recipe.yaml_tree import KeyPath, Node, Scalar, Where

_MOST_DEPTH = 64
"""Deepest nesting of lists and mappings."""
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONTROL_OR_SURROGATE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def parse_yaml(text: str, *, where: Where) -> tuple[Node, list[Problem]]:
    """Parse one document; `where` gives its name and folder.

    Returns the tree, and all problems that do not prevent reading the rest. Raises `RecipeError` if the text is not
    YAML.
    """
    try:
        _refuse_aliases_and_depth(text, where=where)
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.BaseLoader)
        reader = _Reader(source=where.source, folder=where.folder, one_line=where.line is None)
        node = Node(value=None, where=where) if root is None else reader.read(root, path=(), where=where)
    except yaml.YAMLError as error:
        raise RecipeError(_syntax_message(error, where=where)) from error
    return node, reader.problems


def _refuse_aliases_and_depth(text: str, *, where: Where) -> None:
    """Check the events before anything is built, since a few bytes of aliases or brackets can cause unlimited work."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        place = where if where.line is None else f"{where.source}:{event.start_mark.line + 1}"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEPTH:
            raise RecipeError(f"{place}: lists and mappings may be nested {_MOST_DEPTH} deep: write it flatter")
        if isinstance(event, yaml.AliasEvent):
            raise RecipeError(
                f"{place}: aliases are not allowed, found *{event.anchor}: write the value out, or share it "
                "between files with `extends`"
            )


def _syntax_message(error: yaml.YAMLError, *, where: Where) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    place = where.source if mark is None or where.line is None else f"{where.source}:{mark.line + 1}"
    what = error.problem if isinstance(error, yaml.MarkedYAMLError) and error.problem else str(error)
    if "'\\t'" in what:
        return f"{place}: not YAML: a line begins with a tab: indent with spaces"
    return f'{place}: not YAML: {what} (text with special characters, such as ">= 0.3", needs quotes)'


class _Reader:
    """Turns PyYAML's nodes into ours, and collects problems on the way."""

    def __init__(self, *, source: str, folder: Path, one_line: bool) -> None:
        self._source = source
        self._folder = folder
        self._one_line = one_line
        self.problems: list[Problem] = []

    def read(self, node: yaml.Node, *, path: KeyPath, where: Where) -> Node:
        if node.tag not in _PLAIN_TAGS:
            self._report(
                path, where, f"tags are not allowed, found {node.tag}: write plain text, numbers, lists, mappings"
            )
            return Node(value=None, where=where)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path=path, where=where)
        if isinstance(node, yaml.SequenceNode):
            items = [self.read(item, path=(*path, i), where=self._at(item)) for i, item in enumerate(node.value)]
            return Node(value=items, where=where)
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path=path, where=where)

    def _mapping(self, node: yaml.MappingNode, *, path: KeyPath, where: Where) -> Node:
        values: dict[str, Node] = {}
        for key_node, value_node in node.value:
            place = self._at(key_node)
            if not isinstance(key_node, yaml.ScalarNode) or _CONTROL_OR_SURROGATE.search(key_node.value):
                self._report(path, place, "a key must be plain text")
            elif key_node.value in values:
                first = values[key_node.value].where
                self._report((*path, key_node.value), place, f"written twice, first at {first}: keep one of the two")
            else:
                key = key_node.value
                values[key] = self.read(value_node, path=(*path, key), where=place)
        return Node(value=values, where=where)

    def _scalar(self, node: yaml.ScalarNode, *, path: KeyPath, where: Where) -> Node:
        text = self._expanded(node.value, path=path, where=where)
        if _CONTROL_OR_SURROGATE.search(text):
            self._report(path, where, "text must not hold control characters or half of a surrogate pair")
            return Node(value=None, where=where)
        # Quoted and block text stays text, whatever it looks like.
        value = core_scalar(text) if node.style is None else text
        return Node(value=value, where=where, template=None if text == node.value else node.value)

    def _expanded(self, text: str, *, path: KeyPath, where: Where) -> str:
        def replacement(match: re.Match[str]) -> str:
            name, default = match.group(1), match.group(2)
            value = read_variable(name)
            if value is not None:
                return value
            if default is None:
                self._report(
                    path,
                    where,
                    f"the environment variable {name} is not set: set it, or write ${{env:{name}:-default}}",
                )
                return match.group(0)
            return default

        if "${env:" in REFERENCE.sub("", text):
            self._report(path, where, f"expected ${{env:NAME}} or ${{env:NAME:-default}}, found {text!r}")
        return REFERENCE.sub(replacement, text)

    def _at(self, node: yaml.Node) -> Where:
        line = None if self._one_line else node.start_mark.line + 1
        return Where(source=self._source, line=line, folder=self._folder)

    def _report(self, path: KeyPath, where: Where, text: str) -> None:
        self.problems.append(Problem(path=path, text=text, where=where))


def core_scalar(text: str) -> Scalar:
    """Parse an unquoted scalar by the core schema of YAML 1.2; infinities and NaN stay text."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text
