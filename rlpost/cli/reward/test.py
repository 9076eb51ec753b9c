"""`rlpost reward test`: tests verifiers on their own cases and on probes that every verifier must pass."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from rlpost.cli.reward.options import (
    JsonOption,
    ParamsOption,
    excerpt,
    parsed_params,
    read_cases,
    shown_params,
    shown_verdict,
    verdict_record,
)
from rlpost.errors import RewardError
from rlpost.scoring.authoring import Case
from rlpost.scoring.registry import all_of, known_verifiers, resolve
from rlpost.workbench.self_test import NO_RAY, Elsewhere, Failure, Report, broken, self_test


def test(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Short names, module:name, or files.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Test every installed verifier.")] = False,
    cases: Annotated[Path | None, typer.Option(help="More cases, as `fuzz --write` makes them.")] = None,
    params: ParamsOption = "{}",
    ray: Annotated[bool, typer.Option("--ray", help="Judge in a Ray actor as well; starts a private Ray.")] = False,
    json_: JsonOption = False,
) -> None:
    """Test verifiers on their own cases and on probes that every verifier must pass.

    The probes follow from the cases: empty and endless texts, the gold itself, golds of other cases, hedges, and an
    echo of the prompt. Verdicts must be equal three times in a row, from another thread, and through pickles. Exits
    with code 1 if a verifier fails, or if one that was named could not be tested.
    """
    if all_ == bool(names):
        raise RewardError("name the verifiers to test, or say --all")
    chosen = list(known_verifiers()) if all_ else [one for name in names or () for one in all_of(name)]
    if cases is not None and len(chosen) != 1:
        raise RewardError(f"--cases needs exactly one verifier to hold to them; found {len(chosen)}: name one")
    more = [] if cases is None else read_cases(cases)
    values = parsed_params(params)
    reports: list[Report] = []
    with _ray_actor(ray) as elsewhere:
        for name in chosen:
            report = _report(name, more, values, elsewhere, raises=not all_)
            reports.append(report)
            if not json_:
                typer.echo("\n".join(_lines(report)))
    failed = [report for report in reports if report.failures]
    skipped = [report for report in reports if report.skipped is not None]
    if json_:
        typer.echo(json.dumps([_record(report) for report in reports], indent=2, default=repr))
    else:
        passed = len(reports) - len(failed) - len(skipped)
        questions = sum(sum(report.ran.values()) for report in reports)
        where = "" if ray else "; none in a Ray actor (--ray)"
        typer.echo(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped; {questions} questions asked{where}")
    if failed or (skipped and not all_):
        raise typer.Exit(1)


def _report(
    name: str, more: Sequence[Case], params: Mapping[str, Any], elsewhere: Elsewhere | None, *, raises: bool
) -> Report:
    """Report on one verifier. Under `--all`, a broken verifier counts as failed and does not hide the results of the
    others.
    """
    try:
        verifier = resolve(name)
        given = {key: value for key, value in params.items() if raises or key in verifier.parameters.model_fields}
        return self_test(verifier, more_cases=more, params=given, in_ray_actor=elsewhere)
    except RewardError as error:
        if raises:
            raise
        return broken(name, str(error))


@contextmanager
def _ray_actor(wanted: bool) -> Generator[Elsewhere | None]:
    if not wanted:
        yield None
        return
    from rlpost.cluster.reward_actor import reward_actor

    with reward_actor() as elsewhere:
        yield elsewhere


def _lines(report: Report) -> list[str]:
    stamp = f"{report.name}@{report.version}"
    if report.skipped is not None:
        return [f"SKIPPED  {stamp}: {report.skipped}"]
    counts = ", ".join(f"{kind} {count}" for kind, count in report.ran.items())
    lines = [f"{'passed' if report.passed else 'FAILED':8} {stamp}  {counts}  ({report.seconds:.1f} s)"]
    reasons = dict.fromkeys(report.off.values())
    off = {why: ", ".join(kind for kind, its_why in report.off.items() if its_why == why) for why in reasons}
    off.pop(NO_RAY, None)  # shown once, in the last line
    lines += [f"           off: {kinds}: {why}" for why, kinds in off.items()]
    for failure in report.failures:
        lines += _failure_lines(failure)
    return lines


def _failure_lines(failure: Failure) -> list[str]:
    lines = [f"         - {failure.kind}: {failure.why}"]
    if failure.verdict is not None:
        params = f"  [{shown_params(failure.params)}]" if failure.params else ""
        lines.append(f"           response {excerpt(failure.response)}  gold {failure.gold!r:.100}{params}")
        lines.append(f"           verdict  {shown_verdict(failure.verdict)}")
    return lines


def _record(report: Report) -> dict[str, Any]:
    return {
        "name": report.name,
        "version": report.version,
        "passed": report.passed,
        "skipped": report.skipped,
        "ran": dict(report.ran),
        "off": dict(report.off),
        "seconds": round(report.seconds, 3),
        "failures": [
            {
                "kind": failure.kind,
                "why": failure.why,
                "response": failure.response if len(failure.response) < 10_000 else excerpt(failure.response),
                "gold": failure.gold,
                "params": dict(failure.params),
                "verdict": None if failure.verdict is None else verdict_record(failure.verdict),
            }
            for failure in report.failures
        ],
    }
