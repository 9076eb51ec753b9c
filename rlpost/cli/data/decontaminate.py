"""`rlpost data decontaminate`: finds evaluation instances inside training rows."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from rlpost.cli.check import RecipeArgument, SetOption
from rlpost.cli.data.options import (
    DataOption,
    JsonOption,
    TurnsOption,
    known_names,
    opened,
    trained_sets,
    turns_in,
    where,
)
from rlpost.data.examples import ExampleTable
from rlpost.data.overlap.contamination import (
    InstanceIndex,
    Overlap,
    Rule,
    SetReport,
    merged_ranges,
    set_report,
)
from rlpost.data.overlap.words import Turns, instance_turns, row_turns
from rlpost.errors import DataError, RecipeError
from rlpost.recipe.load import load_recipe
from rlpost.telemetry.plain_text import printable

_EXAMPLES_SHOWN = 3
_DIRTY = 1
"""Exit code if a training set is dirty, so that a script can stop at it."""


class _Compared(NamedTuple):
    """One training set, compared with all evaluation sets."""

    name: str
    table: ExampleTable
    overlaps: list[Overlap]
    reports: Mapping[str, SetReport]


def decontaminate(
    recipe: RecipeArgument,
    against: Annotated[
        list[str] | None,
        typer.Option(help="An evaluation set; by default those of `evaluate`.", show_default=False),
    ] = None,
    data: DataOption = None,
    turns: TurnsOption = "user",
    ngram_size: Annotated[int, typer.Option(min=1, help="Words of an n-gram.")] = 8,
    instance_share: Annotated[
        float, typer.Option(min=0, max=1, help="An instance is contaminated above this share of its words.")
    ] = 0.5,
    set_share: Annotated[
        float, typer.Option(min=0, max=1, help="A training set is dirty above this share of contaminated instances.")
    ] = 0.02,
    clean: Annotated[
        Path | None,
        typer.Option(help="A new folder, in which the training sets are written without the rows.", show_default=False),
    ] = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Find evaluation instances in training rows, by the rule of TULU 3. Ends with 1 if a training set is dirty."""
    loaded = load_recipe(recipe, overrides=set_ or []).recipe
    known_names(loaded, against or ())
    evaluated = list(against or (loaded.evaluate.data if loaded.evaluate is not None else ()))
    if not evaluated:
        raise RecipeError("decontaminate needs evaluation sets: give --against, or the recipe a section `evaluate`")
    if clean is not None and clean.exists():
        raise DataError(f"--clean must be a new folder; {clean} exists: give another one, or move it away")
    names = [name for name in trained_sets(loaded, data) if name not in evaluated]
    if not names:
        raise RecipeError(
            "decontaminate has no training set to compare: all that are chosen are evaluation sets; give --data or "
            "--against other sets"
        )
    held_out = {name: opened(loaded, name) for name in evaluated}
    ranges = merged_ranges({name: len(table) for name, table in held_out.items()})
    trained = {name: opened(loaded, name) for name in names}
    rule = Rule(ngram_size=ngram_size, instance_share=instance_share)
    compared = _compared(trained, held_out, ranges, rule=rule, turns=turns, set_share=set_share)
    if clean is not None:
        _write_clean(compared, clean)
    if json_:
        typer.echo(json.dumps(_plain(compared, held_out, ranges), indent=2))
    else:
        _show(compared, held_out, ranges)
    if any(report.is_dirty for one in compared for report in one.reports.values()):
        raise typer.Exit(_DIRTY)


def _compared(
    trained: Mapping[str, ExampleTable],
    held_out: Mapping[str, ExampleTable],
    ranges: Mapping[str, range],
    *,
    rule: Rule,
    turns: Turns,
    set_share: float,
) -> list[_Compared]:
    instances = [one for table in held_out.values() for one in turns_in(table, instance_turns, turns=turns)]
    index = InstanceIndex(instances, rule=rule)
    compared: list[_Compared] = []
    for name, table in trained.items():
        overlaps = index.overlaps(turns_in(table, row_turns, turns=turns))
        reports = {
            other: set_report(overlaps, instances=places, set_share=set_share) for other, places in ranges.items()
        }
        compared.append(_Compared(name, table, overlaps, reports))
    return compared


def _show(compared: Sequence[_Compared], held_out: Mapping[str, ExampleTable], ranges: Mapping[str, range]) -> None:
    console = Console()
    table = Table(title="evaluation instances in training rows", title_justify="left")
    for heading in ("train", "evaluation"):
        table.add_column(heading, overflow="fold")
    for heading in ("instances", "found", "share", "rows"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for one in compared:
        for name, report in one.reports.items():
            state = "dirty" if report.is_dirty else "clean"
            numbers = (f"{report.instances:,}", f"{report.contaminated:,}", f"{report.share:.2%}", f"{report.rows:,}")
            table.add_row(printable(one.name), printable(name), *numbers, state)
    console.print(table)
    for one in compared:
        for name, places in ranges.items():
            found = [overlap for overlap in one.overlaps if overlap.instance in places]
            for overlap in sorted(found, key=lambda overlap: -overlap.share)[:_EXAMPLES_SHOWN]:
                place = overlap.instance - places.start
                console.print(
                    printable(
                        f"{where(one.table, overlap.row)} has {overlap.share:.0%} of {where(held_out[name], place)}: "
                        f"{held_out[name][place].question[:120]}"
                    ),
                    markup=False,
                    highlight=False,
                )


def _plain(
    compared: Sequence[_Compared], held_out: Mapping[str, ExampleTable], ranges: Mapping[str, range]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for one in compared:
        for name, places in ranges.items():
            found = [overlap for overlap in one.overlaps if overlap.instance in places]
            report = one.reports[name]
            rows.append(
                {
                    "train": one.name,
                    "evaluation": name,
                    **report._asdict(),
                    "share": report.share,
                    "overlaps": [
                        {
                            "row": where(one.table, overlap.row),
                            "instance": where(held_out[name], overlap.instance - places.start),
                            "share": round(overlap.share, 4),
                        }
                        for overlap in found
                    ],
                }
            )
    return rows


def _write_clean(compared: Sequence[_Compared], folder: Path) -> None:
    """Write each training set as JSON lines without the rows that contaminate an instance, then give the folder its
    name.
    """
    beside = folder.with_name(f"writing-{folder.name}-{os.getpid()}")
    try:
        beside.mkdir(parents=True)
        try:
            for one in compared:
                _write_kept(one, beside / f"{one.name}.jsonl")
            beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"--clean must be a folder that can be written; found: {error}: make room there, or give another one"
        ) from error


def _write_kept(one: _Compared, path: Path) -> None:
    dropped = {int(one.table.numbers[overlap.row]) for overlap in one.overlaps}
    kept = [number for number in sorted(one.table.numbers.tolist()) if number not in dropped]
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, len(kept), 1000):
            for row in one.table.table.read(kept[start : start + 1000]):
                file.write(json.dumps(dict(row.columns), ensure_ascii=False, default=str) + "\n")
