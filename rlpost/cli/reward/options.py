"""Options shared by several `rlpost reward` commands, and how to read their values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast

import typer

from rlpost.errors import RewardError
from rlpost.recipe.nearest import nearest_words
from rlpost.records import Sample, Verdict
from rlpost.scoring.authoring import Case, Verifier
from rlpost.scoring.registry import resolve
from rlpost.scoring.requirements import why_it_cannot_run

EXCERPT = 300
"""Most characters of a response that are shown."""

NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A short name, module:name, or path/to/file.py[:name].", show_default=False),
]
ParamsOption = Annotated[str, typer.Option("--params", metavar="JSON", help="Parameters of the verifier, as JSON.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Number of processes, for verifiers that run in processes.")]


def parsed_params(text: str) -> dict[str, Any]:
    """Parse the value of `--params`.

    Raises:
        RewardError: the value is not a JSON object.
    """
    try:
        params: object = json.loads(text)
    except ValueError as error:
        raise RewardError(
            f'--params must be a JSON object such as {{"where": "auto"}}; found {text!r}: {error}'
        ) from error
    if not isinstance(params, dict):
        raise RewardError(f'--params must be a JSON object such as {{"where": "auto"}}; found {text!r}')
    return cast("dict[str, Any]", params)


def runnable(name: str) -> Verifier:
    """Find the verifier of this name, and check that it can run here.

    Raises:
        RewardError: the verifier does not exist, or this environment lacks its libraries.
    """
    verifier = resolve(name)
    why = why_it_cannot_run(verifier)
    if why is not None:
        raise RewardError(f"{verifier.spec.name} cannot run here: {why}")
    return verifier


def shown_params(params: Mapping[str, Any]) -> str:
    """Format parameters on one line; empty if there are none."""
    return " ".join(f"{name}={value!r}" for name, value in params.items())


def excerpt(text: str) -> str:
    """Format a text on one line; the middle of a long text is left out."""
    shown = (
        ascii(text) if any(character < " " or "\ud800" <= character <= "\udfff" for character in text) else repr(text)
    )
    return (
        shown
        if len(shown) <= EXCERPT
        else f"{shown[: EXCERPT // 2]} ... {shown[-EXCERPT // 4 :]} ({len(text)} characters)"
    )


def shown_verdict(verdict: Verdict) -> str:
    """Format a verdict on one line."""
    what = f"score {verdict.score:g}" if verdict.score is not None else ""
    fault = f"{verdict.fault} fault" if verdict.fault is not None else ""
    parsed = f"read {verdict.parsed!r:.80}" if verdict.parsed is not None else ""
    return ", ".join(part for part in (fault, what, parsed, verdict.reason[:EXCERPT]) if part)


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """Convert a verdict to plain data."""
    return {
        "score": verdict.score,
        "fault": verdict.fault,
        "parts": dict(verdict.parts),
        "parsed": verdict.parsed,
        "reason": verdict.reason,
        "tags": list(verdict.tags),
        "marks": list(verdict.marks),
        "version": verdict.version,
        "milliseconds": round(verdict.milliseconds, 4),
    }


def read_cases(path: Path) -> list[Case]:
    """Read a file of cases in the format of `rlpost reward fuzz --write`.

    Raises:
        RewardError: the file cannot be read, or a line is not a case; the message names the line.
    """
    cases: list[Case] = []
    for number, values in numbered_objects(path):
        known = {"response", "gold", "expect", "note", "params", "meta", "finish", "at_most"}
        unknown = sorted(set(values) - known)
        if unknown:
            raise RewardError(f"{path}:{number}: a case has no `{unknown[0]}`: {nearest_words(unknown[0], known)}")
        if values.get("expect") not in ("accept", "reject", "adversarial") or not isinstance(
            values.get("response"), str
        ):
            raise RewardError(
                f"{path}:{number}: a case needs a response (text), and expect: accept, reject or adversarial"
            )
        cases.append(Case(**values))
    return cases


class JudgedRow(NamedTuple):
    """One line of a file for `rlpost reward score`."""

    sample: Sample
    params: dict[str, Any]
    """The row's own parameters, which go before those of the command."""
    want: float | None
    """The score that a person gives; None if the row does not say."""


def read_judged_rows(path: Path) -> list[JudgedRow]:
    """Read a file of one JSON object per line: `prompt`, `response`, `gold`, `meta`, `params`, `want`.

    Other keys are ignored.

    Raises:
        RewardError: the file cannot be read, or a line is malformed; the message names the line.
    """
    rows: list[JudgedRow] = []
    for number, values in numbered_objects(path):
        place = f"{path}:{number}"
        if not isinstance(values.get("response"), str):
            raise RewardError(f"{place}: `response` must be text; found {_found(values, 'response')}")
        prompt, want = values.get("prompt") or "", values.get("want")
        if not isinstance(prompt, str):
            raise RewardError(f"{place}: `prompt` must be text; found {_found(values, 'prompt')}")
        for key in ("meta", "params"):
            if not isinstance(values.get(key) or {}, dict):
                raise RewardError(f"{place}: `{key}` must be an object; found {_found(values, key)}")
        if want is not None and (isinstance(want, bool) or not isinstance(want, int | float)):
            raise RewardError(f"{place}: `want` must be a number; found {_found(values, 'want')}")
        finish = values.get("finish", "stop")
        if finish not in ("stop", "length"):
            raise RewardError(f"{place}: `finish` must be stop or length; found {_found(values, 'finish')}")
        sample = Sample(
            id=f"{path.name}:{number}",
            prompt=prompt,
            response=values["response"],
            gold=values.get("gold"),
            meta=cast("dict[str, Any]", values.get("meta") or {}),
            finish=finish,
            group=prompt or f"{path.name}:{number}",
        )
        rows.append(JudgedRow(sample, cast("dict[str, Any]", values.get("params") or {}), want))
    return rows


def numbered_objects(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return (line number from 1, object) for each line that is not blank.

    Raises:
        RewardError: the file cannot be read, or a line is not a JSON object in UTF-8; the message names the line.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RewardError(f"{path} must be a readable file with one JSON object a line; found {error}") from error
    objects: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values: object = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise RewardError(f"{path}:{number}: a line must be one JSON object in UTF-8; found {error}") from error
        if not isinstance(values, dict):
            raise RewardError(f"{path}:{number}: a line must be one JSON object; found a {type(values).__name__}")
        objects.append((number, cast("dict[str, Any]", values)))
    return objects


def _found(values: Mapping[str, Any], key: str) -> str:
    return f"{values[key]!r:.80}" if key in values else "none"
