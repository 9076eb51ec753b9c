"""`rlpost data show`: rows as the model will see them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlpost.cli.check import RecipeArgument, SetOption, load_checked
from rlpost.cli.data.options import JsonOption, known_names, opened, where
from rlpost.data.chat import ChatFormat, model_stop_ids
from rlpost.data.examples import ExampleTable
from rlpost.data.shown import SetSummary, ShownSequence, shown_sequences, summary_of
from rlpost.data.tables.cache import DataCache
from rlpost.data.token_files.chunk import Shape
from rlpost.data.trained_spans import TrainOn
from rlpost.errors import RecipeError
from rlpost.pipeline.base import base_tokenizer
from rlpost.recipe.columns import Use
from rlpost.recipe.nearest import nearest_words
from rlpost.recipe.schema import PreparationRole, Recipe
from rlpost.telemetry.plain_text import printable

_SHAPES: Mapping[Use, Shape] = {
    "cpt": "document",
    "sft": "conversation",
    "pairs": "pair",
    "labelled": "labelled",
    "rewarded": "rewarded",
    "judging": "prompt",
}
_MOST_COUNTED = 1_000
_SIDES = ("", "rejected")


class _Shown(NamedTuple):
    """A data set in the shape of a stage."""

    stage: str
    name: str
    table: ExampleTable
    shape: Shape
    train_on: TrainOn
    most: int


def show(
    recipe: RecipeArgument,
    stage: Annotated[
        list[str] | None, typer.Option(help="A stage, or `evaluate`; by default all.", show_default=False)
    ] = None,
    data: Annotated[list[str] | None, typer.Option(help="A data set; by default all.", show_default=False)] = None,
    rows: Annotated[int, typer.Option(min=0, max=100, help="Rows of each data set to show.")] = 1,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Show rows as the model will see them: rendered, with the trained tokens marked, and their lengths.

    Lengths are those of the first 1,000 rows of each data set, held-out questions included.
    """
    loaded = load_checked(recipe, None, overrides=set_ or []).loaded.recipe
    known_names(loaded, data or ())
    shown = [one for one in _sets(loaded, stage) if data is None or one.name in data]
    chat = _chat(loaded)
    if json_:
        typer.echo(json.dumps([_plain(one, chat, rows=rows) for one in shown], indent=2, ensure_ascii=False))
        return
    console = Console()
    for one in shown:
        for place in range(min(rows, len(one.table))):
            _show_row(console, one, place, chat)
    console.print(_table([(one, _summary(one, chat)) for one in shown]))


def _sets(recipe: Recipe, stages: list[str] | None) -> Iterator[_Shown]:
    names = [stage.name for stage in recipe.stages] + (["evaluate"] if recipe.evaluate is not None else [])
    for name in stages or ():
        if name not in names:
            raise RecipeError(f"--stage must be a stage of the recipe; found {name!r}: {nearest_words(name, names)}")
    wanted = set(stages or names)
    for stage in recipe.stages:
        if stage.name in wanted and stage.data_use is not None:
            shape, most = _SHAPES[stage.data_use], recipe.longest_row(stage.name)
            train_on: TrainOn = stage.trained_turns if shape == "conversation" else "completion"
            for name in stage.data_sets:
                yield _Shown(stage.name, name, opened(recipe, name), shape, train_on, most)
    if recipe.evaluate is not None and "evaluate" in wanted:
        for name in recipe.evaluate.data:
            yield _Shown("evaluate", name, opened(recipe, name), "prompt", "completion", recipe.longest_row("evaluate"))


def _chat(recipe: Recipe) -> ChatFormat:
    tokenizer = base_tokenizer(recipe, cache=DataCache(Path(PreparationRole().cache_dir).expanduser()))
    path = recipe.model.path
    return ChatFormat(tokenizer, model_stops=model_stop_ids(Path(path)) if path is not None else ())


def _sequences(one: _Shown, place: int, chat: ChatFormat) -> list[ShownSequence]:
    return shown_sequences(one.table[place], chat=chat, shape=one.shape, train_on=one.train_on)


def _summary(one: _Shown, chat: ChatFormat) -> SetSummary:
    examples = one.table.read(range(min(_MOST_COUNTED, len(one.table))))
    return summary_of(examples, chat=chat, shape=one.shape, train_on=one.train_on, most=one.most)


def _show_row(console: Console, one: _Shown, place: int, chat: ChatFormat) -> None:
    """Print a row; without a terminal, brackets stand around trained tokens."""
    example = one.table[place]
    for side, sequence in zip(_SIDES, _sequences(one, place, chat), strict=False):
        counts = f"{sequence.token_count:,} tokens, {sequence.trained_count:,} trained"
        title = " ".join(filter(None, (f"{one.stage}, {one.name}, {where(one.table, place)}", side)))
        console.print(Text(printable(f"{title}: {counts}"), style="bold"), soft_wrap=True)
        for piece in sequence.pieces:
            text = printable(piece.text)
            marked = f"\u27e6{text}\u27e7" if piece.is_trained and not console.is_terminal else text
            console.print(Text(marked, style="green" if piece.is_trained else ""), end="", soft_wrap=True)
        console.print()
    if one.shape == "prompt" and example.gold is not None:
        console.print(Text(printable(f"gold: {example.gold!r:.500}"), style="dim"), soft_wrap=True)
    console.print()


def _table(counted: list[tuple[_Shown, SetSummary]]) -> Table:
    table = Table(title="tokens of the first rows of each data set", title_justify="left")
    for heading in ("stage", "data"):
        table.add_column(heading, overflow="fold")
    for heading in ("rows", "counted", "median", "longest", "too long"):
        table.add_column(heading, justify="right")
    for one, summary in counted:
        numbers = (len(one.table), summary.rows, summary.median, summary.longest, summary.too_long)
        table.add_row(printable(one.stage), printable(one.name), *(f"{number:,}" for number in numbers))
    return table


def _plain(one: _Shown, chat: ChatFormat, *, rows: int) -> dict[str, Any]:
    return {
        "stage": one.stage,
        "data": one.name,
        "rows": len(one.table),
        "counted": _summary(one, chat)._asdict(),
        "shown": [
            {
                "row": where(one.table, place),
                "sequences": [
                    {"pieces": [piece._asdict() for piece in sequence.pieces], "tokens": sequence.token_count}
                    for sequence in _sequences(one, place, chat)
                ],
            }
            for place in range(min(rows, len(one.table)))
        ],
    }
