"""`rlpost reward audit`: checks whether a data set and a reward fit each other."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from rlpost.cli.reward.options import JsonOption, ParamsOption, WorkersOption, excerpt
from rlpost.cli.reward.rewards_file import open_reward
from rlpost.data.sources import open_examples
from rlpost.data.tables.cache import DataCache
from rlpost.errors import DataError
from rlpost.recipe.schema import PreparationRole
from rlpost.recipe.sections import LARGEST_SEED, DataConfig
from rlpost.records import Example, Sample
from rlpost.workbench.audit import AuditReport, AuditRow, BadRow, audit

GENERATED_ROWS = 100
SHOWN = 10


def audit_(
    dataset: Annotated[
        str, typer.Argument(help="A .jsonl or .parquet file, or a source such as reasoning_gym:chain_sum.")
    ],
    reward: Annotated[str, typer.Option(help="A verifier, or a YAML file with a section `rewards`.")],
    params: ParamsOption = "{}",
    rows: Annotated[int | None, typer.Option(min=1, help="Number of rows to audit; by default all, or 100.")] = None,
    name: Annotated[str | None, typer.Option(help="The data set's name, for routes; by default the file's.")] = None,
    gold: Annotated[str | None, typer.Option(help="The column with the gold, if it is not called `gold`.")] = None,
    others: Annotated[int, typer.Option(min=0, help="Number of other rows whose golds are tried on each row.")] = 3,
    least: Annotated[
        float | None, typer.Option(help="Smallest score of a right answer; by default the top score.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed for the choice of rows and of other golds.")
    ] = 0,
    workers: WorkersOption = 1,
    quarantine: Annotated[
        Path | None, typer.Option(help="Write the rows that should not be trained on to this file.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Submit each row's gold as the answer to that row, which must be paid, and to other rows, which must not.

    Lists golds that cannot be read, that are not paid, or that contradict each other. Exits with code 1 if anything is
    wrong.
    """
    examples = _examples(dataset, name=name, rows=rows, gold=gold, seed=seed)
    with open_reward(reward, params=params, workers=workers) as opened:
        report = audit(
            [_row(example) for example in examples],
            opened.judged,
            where=opened.where,
            least=opened.top if least is None else least,
            others=others,
            seed=seed,
        )
        reward_name = opened.name
    if quarantine is not None:
        lines = [json.dumps(asdict(row), default=repr) + "\n" for row in report.quarantined]
        quarantine.write_text("".join(lines), encoding="utf-8")
    if json_:
        record = {"dataset": dataset, "reward": reward_name, "clean": report.clean, **asdict(report)}
        typer.echo(json.dumps(record, indent=2, default=repr))
    else:
        typer.echo("\n".join(_lines(dataset, reward_name, report)))
        if quarantine is not None:
            typer.echo(f"wrote {len(report.quarantined)} rows to {quarantine}")
    if not report.clean:
        raise typer.Exit(1)


def _examples(dataset: str, *, name: str | None, rows: int | None, gold: str | None, seed: int) -> list[Example]:
    try:
        source = DataConfig(source=dataset, rows=1).source
    except ValueError as error:
        raise DataError(
            "the data set must be a file of rows, such as .jsonl or .parquet, or a source such as "
            f"reasoning_gym:chain_sum; found {dataset!r}"
        ) from error
    kind, _, place = source.partition(":")
    shown = name or re.sub(r"[^a-z0-9_.-]", "_", Path(place).stem.lower()).lstrip("_.-") or "rows"
    count = rows if rows is not None or kind != "reasoning_gym" else GENERATED_ROWS
    columns: dict[Any, str] = {} if gold is None else {"gold": gold}
    config = DataConfig(source=source, rows=count, seed=seed, columns=columns)
    # Kept in the order of the file, because a person looks for a row by its number.
    return sorted(
        open_examples(shown, config, cache=DataCache(Path(PreparationRole().cache_dir).expanduser())),
        key=lambda example: int(example.id.rpartition("/")[2]),
    )


def _row(example: Example) -> AuditRow:
    sample = Sample(
        id=example.id,
        prompt=example.question,
        response=example.response or "",
        gold=example.gold,
        meta=example.meta,
        dataset=example.dataset,
        group=example.id,
    )
    return AuditRow(sample=sample, group=json.dumps([[turn.role, turn.content] for turn in example.messages]))


def _lines(dataset: str, reward: str, report: AuditReport) -> list[str]:
    lines = [f"{dataset} with {reward}: {report.rows} rows, {report.asked} golds given as answers"]
    lines += _bad_lines("golds cannot be read", report.unreadable)
    lines += _bad_lines("golds are not paid", report.unpaid)
    lines += _bad_lines("rows contradict another with the same prompt", report.conflicting)
    lines += _bad_lines("rows could not be judged", report.broken)
    lines.append(f"{len(report.crossings)} of {report.crossed} answers to another row are paid")
    for crossing in report.crossings[:SHOWN]:
        lines.append(
            f"  {crossing.row} pays {crossing.score:g} for {excerpt(crossing.answer)}, the answer to "
            f"{crossing.answer_of}  gold {crossing.gold!r:.100}"
        )
    if report.rows > report.asked:
        lines.append(
            f"{report.rows - report.asked} golds are no text or number and have no reference answer beside them (a "
            "column `response`): only whether they can be read was looked at"
        )
    if report.equivalent:
        lines.append(f"{report.equivalent} pairs of golds are paid for each other: one answer, written differently")
    if report.duplicates:
        lines.append(f"{report.duplicates} rows repeat the prompt and gold of another; they count twice in training")
    lines.append("nothing is wrong" if report.clean else f"{len(report.quarantined)} rows should be set aside")
    return lines


def _bad_lines(what: str, rows: Sequence[BadRow]) -> list[str]:
    lines = [f"{len(rows)} {what}"]
    lines += [f"  {row.id}  gold {row.gold!r:.100}: {row.reason:.200}" for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        lines.append(f"  ... and {len(rows) - SHOWN} more")
    return lines
