"""The guides in `docs/` as a reader follows them: files are written, commands run, their output compared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from guide_steps import CommandStep, FileStep, guide_text, steps_of, write_file

COMMAND_TIMEOUT_S = 60
LEAST_COMMANDS = {"write-a-reward.md": 12, "write-an-algorithm.md": 3, "samplers.md": 3}


def environment(installed: Path) -> dict[str, str]:
    """That of a reader, except that pip installs into a folder of its own and asks no index."""
    return os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(installed),
        "PIP_TARGET": str(installed),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def run(command: str, folder: Path, installed: Path) -> str:
    line, _, comment = command.partition("  #")
    wanted = int(comment.rpartition(" ")[2]) if "exits with" in comment else 0
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=environment(installed),
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == wanted, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("guide", LEAST_COMMANDS)
def test_a_guide_works_as_written(guide: str, tmp_path: Path) -> None:
    folder, installed = tmp_path / "reader", tmp_path / "installed"
    folder.mkdir()
    ran: list[str] = []
    for step in steps_of(guide):
        match step:
            case FileStep():
                write_file(step, folder)
            case CommandStep(line, shown):
                printed = run(line, folder, installed).splitlines()
                ran.append(line)
                for wanted in shown:
                    assert any(found.startswith(wanted) for found in printed), (
                        f"{line}: {wanted!r} is not in\n" + "\n".join(printed)
                    )
    assert "rlpost check recipe.yaml" in ran
    assert len(ran) >= LEAST_COMMANDS[guide]


@pytest.mark.parametrize("command", ["new", "test", "fuzz", "bench", "score", "audit", "rescore", "show"])
def test_the_guide_names_every_command_that_an_author_of_a_reward_needs(command: str) -> None:
    assert f"rlpost reward {command} " in guide_text("write-a-reward.md")


def test_an_advantage_and_a_loss_are_short() -> None:
    lengths = {
        step.name: len(step.content.splitlines())
        for step in steps_of("write-an-algorithm.md")
        if isinstance(step, FileStep)
    }
    assert lengths["opo.py"] < 50
    assert lengths["sapo.py"] < 50
