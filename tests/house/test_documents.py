"""What the documents say about the repository is so.

README's tree is the fenced block under "## The tree": one line a folder, `path/  what it is for`, and under `rlpost/`,
indented by two spaces, one line for each package and module.
"""

from __future__ import annotations

import re
from datetime import date
from os.path import normpath
from pathlib import Path

from tracked_files import text_of, tracked

NOT_IN_THE_TREE = {"__init__.py", "__main__.py", "py.typed"}
A_PERSONS_PATH = re.compile(r"(?<![\w.~])/(?:home|Users|root|work|opt|mnt|srv)/[\w.-]+")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def tree_lines() -> list[tuple[str, str, str]]:
    """(indent, path, comment) of each line of README's tree."""
    block = text_of(Path("README.md")).split("## The tree\n", 1)[1].split("```")[1]
    matches = [re.fullmatch(r"( *)(\S+)(?: +(.*))?", line) for line in block.splitlines() if line.strip()]
    return [(match[1], match[2], match[3] or "") for match in matches if match]


def test_readme_names_every_folder_with_its_purpose() -> None:
    folders = {f"{path.parts[0]}/" for path in tracked() if len(path.parts) > 1 and not path.parts[0].startswith(".")}
    assert {path for indent, path, _ in tree_lines() if not indent} == folders
    assert [path for _, path, comment in tree_lines() if not comment] == []


def test_readme_names_every_package_and_module_of_rlpost() -> None:
    inside = [path.parts[1:] for path in tracked("rlpost")]
    real = {parts[0] + "/" * (len(parts) > 1) for parts in inside} - NOT_IN_THE_TREE
    assert {path for indent, path, _ in tree_lines() if indent == "  "} == real


def test_every_relative_link_leads_somewhere() -> None:
    known = {str(place) for path in tracked() for place in (path, *path.parents)}
    links = [(page, link) for page in tracked("*.md") for link in LINK.findall(text_of(page))]
    assert links
    assert [(str(page), link) for page, link in links if normpath(page.parent / link) not in known] == []


def test_log_entries_are_dated_newest_first() -> None:
    headings = re.findall(r"^## (.*)$", text_of(Path("LOG.md")), flags=re.MULTILINE)
    days = [date.fromisoformat(heading[:10]) for heading in headings]
    assert days == sorted(days, reverse=True)
    assert [heading for heading in headings if len(heading) < len("2026-01-01 ab")] == []


def test_no_file_names_a_path_of_one_machine() -> None:
    found = {str(path): A_PERSONS_PATH.findall(text_of(path)) for path in tracked()}
    assert {path: names for path, names in found.items() if names} == {}
    assert A_PERSONS_PATH.search("see /" + "home/ada/model")
