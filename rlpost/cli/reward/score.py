"""`rlpost reward score`: judges the responses in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rlpost.cli.reward.options import (
    JsonOption,
    NameArgument,
    ParamsOption,
    WorkersOption,
    excerpt,
    parsed_params,
    read_judged_rows,
    runnable,
    shown_verdict,
    verdict_record,
)
from rlpost.records import Sample, Verdict
from rlpost.workbench.verifier_runner import VerifierRunner

NEARNESS = 1e-6
"""The largest difference between a score and the wanted one."""


def score(
    name: NameArgument,
    cases: Annotated[Path, typer.Option(help="One JSON object a line: prompt, response, gold, meta, params, want.")],
    params: ParamsOption = "{}",
    workers: WorkersOption = 1,
    json_: JsonOption = False,
) -> None:
    """Judge the responses in a file; print one verdict per line, in the order of the file.

    A row's `params` go before those of the command. Where rows have a score that they `want`, the share of them that
    get it is printed at the end. Nothing is printed unless all lines can be read.
    """
    verifier = runnable(name)
    given = parsed_params(params)
    rows = read_judged_rows(cases)
    values = [verifier.validated({**given, **row.params}) for row in rows]
    with VerifierRunner(verifier, workers=workers) as judge:
        verdicts = _verdicts(judge, [row.sample for row in rows], values)
    for row, verdict in zip(rows, verdicts, strict=True):
        if json_:
            wanted = {} if row.want is None else {"want": row.want}
            typer.echo(json.dumps(verdict_record(verdict) | wanted))
        else:
            differs = "" if _is_wanted(verdict, row.want) else f"  WANTED {row.want:g}"
            typer.echo(f"{row.sample.id}  {shown_verdict(verdict)}{differs}  {excerpt(row.sample.response)}")
    wanted = [
        _is_wanted(verdict, row.want) for row, verdict in zip(rows, verdicts, strict=True) if row.want is not None
    ]
    if wanted:
        right = sum(wanted)
        typer.echo(f"{right} of {len(wanted)} get the score that they want ({right / len(wanted):.1%})", err=json_)


def _verdicts(judge: VerifierRunner, samples: Sequence[Sample], values: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    """One verdict a sample, in order; samples with equal parameters are judged together."""
    places: dict[str, list[int]] = {}
    for index, params in enumerate(values):
        places.setdefault(repr(sorted(params.items())), []).append(index)
    verdicts: dict[int, Verdict] = {}
    for indices in places.values():
        judged = judge([samples[index] for index in indices], params=values[indices[0]])
        verdicts |= dict(zip(indices, judged, strict=True))
    return [verdicts[index] for index in range(len(samples))]


def _is_wanted(verdict: Verdict, want: float | None) -> bool:
    return want is None or (verdict.score is not None and abs(verdict.score - want) <= NEARNESS)
