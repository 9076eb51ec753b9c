"""A case: what it starts from and the changes to it, all of it drawn from a seed, so that a number makes it again."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from fuzz_data import FORMATS, mutate_bytes, mutate_place, mutate_rows, write_data
from fuzz_ground import RECIPES, SHAPES, document_for
from fuzz_recipes import RecipeFiles, document_of, dumped, mutate_command, mutate_document, mutate_text

ENVIRONMENT = {"FUZZ_TEXT": "a: [b\n\x01", "FUZZ_NUMBER": "3"}
"""What `${env:...}` in a mutated recipe finds."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One mutation, called `recipe/<seed>/<number>` or `data/<seed>/<number>`; or what it starts from, `start/...`."""

    name: str
    changes: tuple[int, ...]
    """Which of its changes are made; all of them, until a smaller case is looked for."""

    def smaller(self) -> list[Case]:
        """The same case with one change less."""
        return [
            replace(self, changes=tuple(change for change in self.changes if change != dropped))
            for dropped in self.changes
            if len(self.changes) > 1
        ]


@dataclass(frozen=True, kw_only=True)
class Written:
    """A case as files."""

    recipe: Path
    overrides: tuple[str, ...]
    """Options of `--set`."""
    told: tuple[str, ...]
    """What it starts from, and each change in words."""


def case_called(name: str) -> Case:
    """The case of this name, whole; what others start from has no changes."""
    count = 0 if name.startswith("start/") else Random(name).choice((1, 1, 1, 1, 1, 1, 2, 3))
    return Case(name=name, changes=tuple(range(count)))


def starts() -> list[str]:
    """Names of what mutations start from, and must run as it is: the recipes, and all shapes of rows in all formats."""
    recipes = [f"start/{name}" for name in RECIPES]
    data = [f"start/{shape}/{kind}" for shape in SHAPES for kind in sorted(set(FORMATS))]
    return recipes + data


def write_case(case: Case, folder: Path) -> Written:
    """Write it into a folder that holds what `make_ground` makes."""
    kind, *what = case.name.split("/")
    if kind == "recipe":
        base = Random(case.name).choice(RECIPES)
        return _write_recipe(case, folder, base)
    if kind == "data":
        rng = Random(case.name)
        return _write_data(case, folder, rng.choice(sorted(SHAPES)), rng.choice(FORMATS))
    if len(what) == 1:
        return Written(recipe=folder / what[0], overrides=(), told=(what[0],))
    return _write_data(case, folder, *what)


def _write_recipe(case: Case, folder: Path, base: str) -> Written:
    rng = Random(f"{case.name}/style")
    is_flat = rng.random() < 0.5
    files = RecipeFiles(document_of(folder / base, flat=is_flat))
    told = [f"{base}, {'with what it extends' if is_flat else 'as it is'}"]
    kinds = [rng.choice(("document",) * 12 + ("text",) * 2 + ("command",)) for _ in range(3)]
    for change in case.changes:
        if kinds[change] == "document":
            told.append(mutate_document(files, Random(f"{case.name}/{change}")))
    try:
        files.text = dumped(files.document, rng)
    except (ValueError, RecursionError):
        # The dumper's own limits: no such document can be written.
        files.text = (folder / base).read_bytes()
    if not any(kinds[change] == "document" for change in case.changes) and rng.random() < 0.7:
        files.text = (folder / base).read_bytes()
    for change in case.changes:
        if kinds[change] == "text":
            told.append(mutate_text(files, Random(f"{case.name}/{change}")))
        if kinds[change] == "command":
            told.append(mutate_command(files, Random(f"{case.name}/{change}")))
    recipe = folder / "self.yaml"
    recipe.write_bytes(files.text)
    return Written(recipe=recipe, overrides=tuple(files.overrides), told=tuple(told))


def _write_data(case: Case, folder: Path, shape: str, kind: str) -> Written:
    rng = Random(f"{case.name}/style")
    rows: list[dict[str, Any]] = SHAPES[shape]()
    told = [f"{shape} as {kind}"]
    kinds = [rng.choice(("rows",) * 10 + ("bytes",) * 9 + ("place",)) for _ in range(3)]
    is_held_out = shape == "plain" and bool(case.changes) and rng.random() < 0.3
    for change in case.changes:
        if kinds[change] == "rows":
            told.append(mutate_rows(rows, Random(f"{case.name}/{change}")))
    source, files = write_data(rows, kind, folder, rng)
    for change in case.changes:
        change_rng = Random(f"{case.name}/{change}")
        path = change_rng.choice(files)
        if kinds[change] == "bytes" and path.is_file():
            content, words = mutate_bytes(path.read_bytes(), change_rng)
            path.write_bytes(content)
            told.append(f"{path.name}: {words}")
        elif kinds[change] == "place" and path.is_file():
            told.append(f"{path.name}: {mutate_place(path, change_rng)}")
    document = document_for(shape, source)
    if is_held_out:
        document["data"] |= {"rows": {"source": "jsonl:plain.jsonl"}, "held_out": {"source": source}}
        told[0] += ", held out"
    recipe = folder / "self.yaml"
    recipe.write_text(json.dumps(document), encoding="utf-8")
    return Written(recipe=recipe, overrides=(), told=tuple(told))
