"""summary.json, and the table at the end of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rlpost.pipeline.artifacts import MODEL, Manifest
from rlpost.pipeline.run_directory import RunDirectory
from rlpost.recipe.schema import Recipe
from rlpost.telemetry.account import stage_account
from rlpost.telemetry.console import Console
from rlpost.telemetry.tracker import read_metrics


def write_summary(run: RunDirectory, recipe: Recipe, manifests: Sequence[Manifest]) -> None:
    """Replace `<run>/summary.json` atomically."""
    base, *stages = [_stage_record(run, number, manifest) for number, manifest in enumerate(manifests)]
    content: dict[str, Any] = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "trust_remote_code": recipe.model.trust_remote_code,
        "base": base,
        "stages": stages,
    }
    beside = run.root / "writing-summary.json"
    beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    beside.rename(run.root / "summary.json")


def show_summary(run: RunDirectory, manifests: Sequence[Manifest], console: Console) -> None:
    """Print the table of stages and held-out scores, the account of the time, and the paths of all results."""
    names = _shown_scores(manifests)
    rows = [
        [
            manifest.stage,
            *(f"{manifest.scores[name]:.3f}" if name in manifest.scores else "-" for name in names),
            f"{manifest.seconds:.0f}",
            _time_words(_time_shares(run, number, manifest)),
        ]
        for number, manifest in enumerate(manifests)
    ]
    console.table("held-out scores", ["stage", *names, "seconds", "time went to"], rows)
    last = max(number for number, manifest in enumerate(manifests) if manifest.produces == "language_model")
    console.say(f"summary  {run.root / 'summary.json'}")
    console.say(f"model    {run.stage(last, manifests[last].stage).final / MODEL}")
    console.say(f"metrics  {run.root / 'stages'}/*/metrics.jsonl, samples.jsonl, evaluation.jsonl")


def _stage_record(run: RunDirectory, number: int, manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.stage,
        "kind": manifest.kind,
        "produces": manifest.produces,
        "scores": manifest.scores,
        "seconds": manifest.seconds,
        "time_shares": _time_shares(run, number, manifest),
        "model": str(run.stage(number, manifest.stage).final / MODEL),
        "model_hash": manifest.model_hash,
        "parents": manifest.parents,
    }


def _time_shares(run: RunDirectory, number: int, manifest: Manifest) -> dict[str, float]:
    path = run.stage(number, manifest.stage).final / "metrics.jsonl"
    return dict(stage_account(read_metrics(path))) if path.exists() else {}


def _time_words(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share >= 0.005)


def _shown_scores(manifests: Sequence[Manifest]) -> list[str]:
    """Return all score names; the mean score is included only if it differs from pass@1."""
    names = {name for manifest in manifests for name in manifest.scores}
    if all(manifest.scores.get("mean_score") == manifest.scores.get("pass@1") for manifest in manifests):
        names -= {"mean_score"}
    return sorted(names, key=_score_order)


def _score_order(name: str) -> tuple[bool, str]:
    return (not name.startswith("pass@"), name)
