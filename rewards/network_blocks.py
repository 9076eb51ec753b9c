"""Reads configuration text as blocks: every line with the lines of its enclosing blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rewards.network_values import HostBits, normal_words

MOST_LINES = 2000
DEEPEST = 16
"""Deepest nesting of blocks; real configurations have four levels."""
_COMMENT = re.compile(r"\s*(?:!|#|//).*|\s*/\*.*\*/\s*")
_LEAVES = ("exit", "end", "quit", "exit-address-family", "return")
_OPENERS = re.compile(
    r"(?:interface|router|vlan|line|class-map|policy-map|route-map|ip access-list|ipv6 access-list|vrf|key chain)\s+\S"
)
"""Commands that open a block in text without indentation, as it is typed at a prompt."""

Path = tuple[str, ...]
"""The lines of the enclosing blocks, followed by the line itself."""


def read_blocks(text: str, *, host_bits: HostBits, casefold: bool) -> list[Path] | None:
    """Return the path of every line in order, normalised; None if the text is too long or nested too deeply, or its
    braces do not match.

    Blocks are recognised by braces, or by indentation, or, without either, by the commands that open one. Comments,
    empty lines and words that only leave a block are dropped.
    """
    lines = [line.expandtabs(4).rstrip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if len(lines) > MOST_LINES:
        return None
    if any(line.endswith("{") for line in lines):
        located = _by_braces(lines)
    elif any(line[0].isspace() and not _COMMENT.fullmatch(line) for line in lines):
        located = _by_indentation(lines)
    else:
        located = _by_openers(lines)
    paths: list[Path] = []
    for depth, line in located:
        if not 0 <= depth <= DEEPEST:
            return None
        words = normal_words((line.casefold() if casefold else line).split(), host_bits=host_bits)
        parent = next((path for path in reversed(paths) if len(path) == depth), ()) if depth else ()
        paths.append((*parent[:depth], " ".join(words)))
    return paths


def _by_braces(lines: list[str]) -> Iterator[tuple[int, str]]:
    depth = 0
    for line in lines:
        bare = line.strip()
        if _COMMENT.fullmatch(line):
            continue
        if bare in ("}", "};"):
            depth -= 1
            if depth < 0:
                yield -1, ""
                return
        elif bare.endswith("{"):
            yield depth, bare.removesuffix("{").rstrip()
            depth += 1
            if depth > DEEPEST:
                yield -1, ""
                return
        else:
            yield depth, bare.removesuffix(";").rstrip()
    if depth:
        yield -1, ""


def _by_indentation(lines: list[str]) -> Iterator[tuple[int, str]]:
    indents: list[int] = []
    for line in lines:
        bare = line.strip()
        if _COMMENT.fullmatch(line) or bare in _LEAVES:
            continue
        indent = len(line) - len(line.lstrip())
        while indents and indents[-1] >= indent:
            indents.pop()
        yield len(indents), bare
        indents.append(indent)


def _by_openers(lines: list[str]) -> Iterator[tuple[int, str]]:
    inside = False
    for line in lines:
        if line in _LEAVES or line == "!":
            inside = False
        elif _COMMENT.fullmatch(line):
            continue
        elif _OPENERS.match(line):
            inside = True
            yield 0, line
        else:
            yield int(inside), line
