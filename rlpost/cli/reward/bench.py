"""`rlpost reward bench`: measures how many verdicts per second a verifier gives."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from rlpost.cli.reward.options import JsonOption, ParamsOption, WorkersOption, parsed_params, runnable
from rlpost.recipe.sections import LARGEST_SEED
from rlpost.workbench.measure import BATCH_SAMPLES, BATCH_WORKERS, Measured, measure
from rlpost.workbench.self_test import with_params


def bench(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Short names, module:name, or files.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="Duration per verifier, after warming up.")] = 3.0,
    workers: WorkersOption = 1,
    pathological: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of answers whose computation would never end.")
    ] = 0.005,
    params: ParamsOption = "{}",
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed for the samples.")] = 0,
    json_: JsonOption = False,
) -> None:
    """Measure how many verdicts per second and core a verifier gives, on its cases with other numbers.

    The project's bar is shown beside the figure, if there is one. Run nothing else meanwhile. Exits with code 1 if a
    bar is missed.
    """
    values = parsed_params(params)
    chosen = [with_params(runnable(name), values) for name in names]
    measured: list[Measured] = []
    for verifier in chosen:
        one = measure(verifier, seconds=seconds, workers=workers, pathological=pathological, seed=seed)
        measured.append(one)
        if not json_:
            typer.echo("\n".join(_lines(one)))
    if json_:
        typer.echo(json.dumps([{**asdict(one), "met": one.met} for one in measured], indent=2))
    if any(one.met is False for one in measured):
        raise typer.Exit(1)


def _lines(one: Measured) -> list[str]:
    bar = "" if one.bar is None else f"  bar {one.bar:,.0f} {_verdict(one.per_second >= one.bar)}"
    lines = [
        f"{one.name}@{one.version}  {one.per_second:,.0f} a second and core{bar}  "
        f"p50 {one.p50_ms:.3f} ms, p99 {one.p99_ms:.3f} ms  ({one.samples} samples on {one.workers} "
        f"core{'s' if one.workers > 1 else ''} in {one.seconds:.1f} s, {one.pathological:.1%} pathological)"
    ]
    if one.batch_bar is not None and one.batch_seconds is not None:
        met = _verdict(one.batch_seconds <= one.batch_bar)
        lines.append(
            f"    {BATCH_SAMPLES} samples on {BATCH_WORKERS} workers: {one.batch_seconds:.2f} s  "
            f"bar {one.batch_bar:g} s {met}"
        )
    if one.policy_faults or one.infra_faults:
        lines.append(f"    {one.policy_faults} broke the verifier, {one.infra_faults} could not be judged")
    return lines


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"
