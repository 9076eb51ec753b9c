"""Every command that README shows exists: its make target, its subcommand, its options, and the files it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import typer

from rlpost.cli.main import app

ROOT = Path(__file__).parents[2]
LINES = [
    line.removeprefix("$ ").split("  #")[0].strip()
    for block in (ROOT / "README.md").read_text().split("```")[1::2]
    for line in block.splitlines()
]
RLPOST = [line for line in LINES if line.startswith(".venv/bin/rlpost ")]
MAKE = [line for line in LINES if re.match(r"make \w", line)]


def test_readme_shows_commands() -> None:
    assert len(RLPOST) >= 6
    assert len(MAKE) >= 2


@pytest.mark.parametrize("line", RLPOST)
def test_command_parses_and_its_files_exist(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group | typer.core.TyperGroup)
    command = group.commands[name]
    context = command.make_context(name, list(arguments))
    named = [Path(value) for value in (context.params.get("recipe"), context.params.get("cluster")) if value]
    assert [path for path in named if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("line", MAKE)
def test_make_target_exists(line: str) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert line.split()[1] in targets
