"""`rlpost reward score`: judges the responses in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rlpost.cli.reward.options import (
    JsonOption,
    NameArgument,
    ParamsOption,
    WorkersOption,
    excerpt,
    parsed_params,
    read_samples,
    runnable,
    shown_verdict,
    verdict_record,
)
from rlpost.workbench.verifier_runner import VerifierRunner


def score(
    name: NameArgument,
    cases: Annotated[Path, typer.Option(help="One JSON object a line: prompt, response, gold, meta.")],
    params: ParamsOption = "{}",
    workers: WorkersOption = 1,
    json_: JsonOption = False,
) -> None:
    """Judge the responses in a file; print one verdict per line, in the order of the file.

    Nothing is printed unless all lines can be read.
    """
    verifier = runnable(name)
    values = verifier.validated(parsed_params(params))
    samples = read_samples(cases)
    with VerifierRunner(verifier, workers=workers) as judge:
        verdicts = judge(samples, params=values)
    for sample, verdict in zip(samples, verdicts, strict=True):
        if json_:
            typer.echo(json.dumps(verdict_record(verdict)))
        else:
            typer.echo(f"{sample.id}  {shown_verdict(verdict)}  {excerpt(sample.response)}")
