"""`rlpost reward list`: lists the installed verifiers."""

from __future__ import annotations

import json
from typing import Any

import typer

from rlpost.cli.reward.options import JsonOption
from rlpost.errors import RewardError
from rlpost.scoring.authoring import Verifier
from rlpost.scoring.registry import known_verifiers, load_verifier
from rlpost.scoring.requirements import how_to_install, why_it_cannot_run


def list_(json_: JsonOption = False) -> None:
    """List every verifier that an installed distribution declares: what it judges, where it runs, what it needs."""
    records = [_record(name, reference) for name, reference in known_verifiers().items()]
    if json_:
        typer.echo(json.dumps(records, indent=2))
        return
    width = max((len(str(record["name"])) for record in records), default=0)
    for record in records:
        typer.echo(
            f"{record['name']:{width}}  {record['summary'] or 'BROKEN: ' + record['cannot_run'].splitlines()[0]}"
        )
        if record["verifier"]:
            shown = f"version {record['version']}, {record['isolation']}, {_range(record['range'])}"
            typer.echo(f"{'':{width}}  {shown}{_needs(record)}")


def _record(name: str, reference: str) -> dict[str, Any]:
    try:
        verifier = load_verifier(reference)
    except RewardError as error:  # one broken distribution must not hide all others
        return {"name": name, "reference": reference, "verifier": False, "cannot_run": str(error), "summary": ""}
    spec = verifier.spec
    return {
        "name": name,
        "reference": reference,
        "verifier": True,
        "version": spec.version,
        "isolation": spec.isolation,
        "per": spec.per,
        "range": list(spec.score_range),
        "requires": list(spec.requires),
        "extra": spec.extra,
        "cannot_run": why_it_cannot_run(verifier),
        "summary": summary_of(verifier),
    }


def summary_of(verifier: Verifier) -> str:
    """The first sentence of the verifier's docstring, on one line."""
    paragraph = (verifier.function.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(paragraph.split())


def _range(score_range: list[float]) -> str:
    return f"{score_range[0]:g} to {score_range[1]:g}"


def _needs(record: dict[str, Any]) -> str:
    if record["extra"] is None:
        return "" if record["cannot_run"] is None else f", {record['cannot_run']}"
    return f", {how_to_install(record['extra'])}" if record["cannot_run"] else f", {record['extra']} (installed)"
