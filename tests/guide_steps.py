"""The pages of `docs/` that a reader follows step by step, as steps: files to write, commands to type.

A fenced block after "into `name`:" is a file. A line of a console block that begins with `$` is a command; the lines
below it stand in what it prints, as they are or as the beginning of a line. `# exits with 1` says its exit code.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1] / "docs"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"into\s`([\w./-]+)`[^`]*$")


class FileStep(NamedTuple):
    name: str
    content: str


class CommandStep(NamedTuple):
    line: str
    """The line, with its comment."""
    shown: list[str]


def guide_text(guide: str) -> str:
    return (DOCS / guide).read_text(encoding="utf-8")


def steps_of(guide: str) -> list[FileStep | CommandStep]:
    """Files and commands, in the order of the page."""
    text = guide_text(guide)
    found: list[FileStep | CommandStep] = []
    position = 0
    for fence in FENCE.finditer(text):
        before, position = text[position : fence.start()], fence.end()
        if fence[1] == "console":
            for command in ("\n" + fence[2]).split("\n$ ")[1:]:
                line, _, shown = command.partition("\n")
                found.append(CommandStep(line, [*filter(None, shown.splitlines())]))
        else:
            name = FILE.search(before.strip())
            assert name is not None, f"the guide must say where this belongs: {fence[2][:80]}"
            found.append(FileStep(name[1], fence[2]))
    return found


def write_files(guide: str, folder: Path) -> None:
    """All files of a page, for who wants them without its commands."""
    for step in steps_of(guide):
        if isinstance(step, FileStep):
            write_file(step, folder)


def write_file(step: FileStep, folder: Path) -> None:
    path = folder / step.name
    path.parent.mkdir(exist_ok=True)
    path.write_text(step.content, encoding="utf-8")
