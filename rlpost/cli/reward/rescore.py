"""`rlpost reward rescore`: shows how another reward would have judged a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rlpost.cli.reward.options import JsonOption, ParamsOption, WorkersOption, excerpt
from rlpost.cli.reward.rewards_file import open_reward
from rlpost.workbench.rescoring import Flip, RescoreReport, rescore, stored_groups

SHOWN = 10


def rescore_(
    run: Annotated[Path, typer.Argument(help="A run's folder, a stage's folder, or a samples.jsonl.")],
    reward: Annotated[str, typer.Option(help="The other reward: a verifier, or a YAML file with a section `rewards`.")],
    stage: Annotated[
        str | None, typer.Option(help="Only this stage; by default all stages that stored responses.")
    ] = None,
    params: ParamsOption = "{}",
    threshold: Annotated[float, typer.Option(help="A score above this is called paid.")] = 0.5,
    workers: WorkersOption = 1,
    json_: JsonOption = False,
) -> None:
    """Judge the responses that a run stored (a few groups per step) with another reward; changes nothing.

    Shows which responses would be judged differently, and in how many groups the sign of an advantage would change.
    """
    groups = stored_groups(run, stage=stage)
    with open_reward(reward, params=params, workers=workers) as opened:
        report = rescore(groups, opened.judged, threshold=threshold)
    if json_:
        typer.echo(json.dumps(_record(report), indent=2, default=repr))
    else:
        typer.echo("\n".join(_lines(report)))


def _lines(report: RescoreReport) -> list[str]:
    names = sorted({name for pair in report.matrix for name in pair}, key=lambda name: (" " in name, name))
    width = max(len(name) for name in names) + 2
    lines = [
        f"{report.responses} responses in {report.groups} groups",
        "",
        "old \\ new".ljust(14) + _cells(names, width),
    ]
    for old in names:
        lines.append(old.ljust(14) + _cells([str(report.matrix.get((old, new), 0)) for new in names], width))
    lines += [
        "",
        f"{len(report.flips)} responses flip; scores change by {report.mean_change:+.4f} in the mean",
        f"{report.groups_with_other_signs} of {report.groups} groups have an advantage whose sign changes; "
        f"{report.groups_that_gain_signal} gain a signal and {report.groups_that_lose_signal} lose theirs",
    ]
    lines += [_flip_line(flip) for flip in report.flips[:SHOWN]]
    if len(report.flips) > SHOWN:
        lines.append(f"... and {len(report.flips) - SHOWN} more: --json has all")
    return lines


def _cells(values: list[str], width: int) -> str:
    return "".join(value.rjust(width) for value in values)


def _flip_line(flip: Flip) -> str:
    sample = flip.sample
    change = f"{flip.old} -> {flip.new}: {flip.reason:.120}"
    return f"{sample.id}  {change}  {excerpt(sample.response)}  gold {sample.gold!r:.100}"


def _record(report: RescoreReport) -> dict[str, Any]:
    return {
        "responses": report.responses,
        "groups": report.groups,
        "matrix": [{"old": old, "new": new, "count": count} for (old, new), count in sorted(report.matrix.items())],
        "mean_change": report.mean_change,
        "groups_with_other_signs": report.groups_with_other_signs,
        "groups_that_gain_signal": report.groups_that_gain_signal,
        "groups_that_lose_signal": report.groups_that_lose_signal,
        "flips": [
            {
                "id": flip.sample.id,
                "step": flip.sample.step,
                "prompt": flip.sample.prompt,
                "response": flip.sample.response,
                "gold": flip.sample.gold,
                "old": flip.old,
                "new": flip.new,
                "old_score": flip.old_score,
                "new_score": flip.new_score,
                "reason": flip.reason,
            }
            for flip in report.flips
        ],
    }
