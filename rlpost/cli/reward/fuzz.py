"""`rlpost reward fuzz`: searches for responses that are paid and should not be."""

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
    runnable,
    shown_params,
    shown_verdict,
    verdict_record,
)
from rlpost.errors import RewardError
from rlpost.recipe.sections import LARGEST_SEED
from rlpost.workbench.fuzzing import Finding, fuzz
from rlpost.workbench.self_test import with_params
from rlpost.workbench.verifier_runner import VerifierRunner


def fuzz_(
    name: NameArgument,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to search.")] = 20.0,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Equal seeds make equal attacks.")] = 0,
    params: ParamsOption = "{}",
    workers: WorkersOption = 1,
    write: Annotated[
        Path | None, typer.Option(help="Append the findings to this file as cases, one JSON object per line.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Attack a verifier, and show the smallest response of each kind that is paid and should not be.

    The attacks (hedges, stuffed answers, hidden characters, nesting, huge numbers, golds in prose) are made from the
    verifier's own cases. Exits with code 1 if one is paid.
    """
    verifier = with_params(runnable(name), parsed_params(params))
    with VerifierRunner(verifier, workers=workers) as judge:
        report = fuzz(judge, seconds=seconds, seed=seed)
    if not report.tried:
        raise RewardError(
            f"{verifier.spec.name} cannot be attacked from its cases: it needs an accepted case and a gold; test it "
            "with `rlpost reward test`"
        )
    if write is not None and report.findings:
        with write.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(_case(finding, seed)) + "\n" for finding in report.findings)
    if json_:
        record = {
            "name": verifier.spec.name,
            "version": verifier.spec.version,
            "tried": dict(report.tried),
            "broken": report.broken,
            "seconds": round(report.seconds, 2),
            "findings": [
                {**_case(one, seed), "why": one.why, "verdict": verdict_record(one.verdict)} for one in report.findings
            ],
        }
        typer.echo(json.dumps(record, indent=2, default=repr))
    else:
        counts = ", ".join(f"{kind} {count}" for kind, count in sorted(report.tried.items()))
        typer.echo(f"{verifier.spec.stamp}: {sum(report.tried.values())} attacks in {report.seconds:.1f} s ({counts})")
        if report.broken:
            typer.echo(f"{report.broken} of them timed out or crashed it; they cost time and were not paid")
        for finding in report.findings:
            typer.echo("\n".join(_lines(finding)))
        if not report.findings:
            typer.echo("none was paid")
    if report.findings:
        raise typer.Exit(1)


def _lines(finding: Finding) -> list[str]:
    case = finding.attack.case
    params = f"  [{shown_params(case.params)}]" if case.params else ""
    return [
        f"PAID  {finding.attack.kind}: {finding.why}",
        f"      response {excerpt(finding.response)}  gold {case.gold!r:.100}{params}",
        f"      verdict  {shown_verdict(finding.verdict)}",
    ]


def _case(finding: Finding, seed: int) -> dict[str, object]:
    case = finding.attack.case
    return {
        "response": finding.response,
        "gold": case.gold,
        "meta": dict(case.meta),
        "params": dict(case.params),
        "expect": "adversarial",
        "note": f"found by fuzzing with seed {seed}: {finding.attack.kind}",
    }
