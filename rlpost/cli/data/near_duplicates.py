"""`rlpost data near-duplicates`: finds rows that nearly repeat an earlier one."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rlpost.cli.check import RecipeArgument, SetOption
from rlpost.cli.data.options import DataOption, JsonOption, TurnsOption, opened, trained_sets, turns_in, where
from rlpost.data.overlap.near_duplicates import near_duplicates
from rlpost.data.overlap.words import instance_turns
from rlpost.recipe.load import load_recipe
from rlpost.telemetry.plain_text import printable


def near_duplicates_(
    recipe: RecipeArgument,
    data: DataOption = None,
    turns: TurnsOption = "all",
    threshold: Annotated[float, typer.Option(min=0.3, max=1, help="Least Jaccard similarity of two rows.")] = 0.8,
    shingle_size: Annotated[int, typer.Option(min=1, help="Words of a shingle.")] = 5,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """List the rows that nearly repeat an earlier row, within and across data sets."""
    loaded = load_recipe(recipe, overrides=set_ or []).recipe
    tables = [opened(loaded, name) for name in trained_sets(loaded, data)]
    places = [(table, place) for table in tables for place in range(len(table))]
    texts = (
        [word for words in turned for word in words]
        for table in tables
        for turned in turns_in(table, instance_turns, turns=turns)
    )
    found = near_duplicates(texts, shingle_size=shingle_size, threshold=threshold)
    listed = [
        {
            "row": where(*places[one.place]),
            "repeats": where(*places[one.earlier]),
            "similarity": round(one.similarity, 4),
        }
        for one in found
    ]
    if json_:
        typer.echo(json.dumps({"rows": len(places), "near_duplicates": listed}, indent=2))
        return
    for one in listed:
        typer.echo(printable(f"{one['row']} repeats {one['repeats']}, similarity {one['similarity']}"))
    typer.echo(f"{len(listed):,} of {len(places):,} rows nearly repeat an earlier one")
