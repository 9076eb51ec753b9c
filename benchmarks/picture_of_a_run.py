"""Draws a finished run: held-out pass@1 after every stage, and reward and length over the steps of RL."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

BLUE, ORANGE, GREY = "#2f6db3", "#d9822b", "#8a8f98"


def draw(run: Path, picture: Path) -> None:
    """Read summary.json and the GRPO stage's metrics, and write an SVG."""
    stages = [stage for stage in json.loads((run / "summary.json").read_text())["stages"] if stage["scores"]]
    folder = next(path for path in sorted((run / "stages").iterdir()) if path.name.endswith("-grpo"))
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]

    matplotlib.rcParams.update({"font.family": "DejaVu Sans", "svg.hashsalt": "rlpost", "font.size": 10})
    figure, (bars, curve) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    names, values = [stage["name"] for stage in stages], [stage["scores"]["pass@1"] for stage in stages]
    drawn = bars.bar(names, values, color=[GREY, BLUE, BLUE, ORANGE][: len(names)], width=0.6)
    bars.bar_label(drawn, [f"{value:.2f}" for value in values], padding=2)
    bars.set(ylim=(0, 1.08), title="held-out pass@1 after each stage")

    curve.plot([step["step"] + 1 for step in steps], [step["reward"] for step in steps], color=ORANGE)
    curve.set(ylim=(0, 1), xlabel="GRPO step", title="reward of sampled answers, and their length")
    curve.set_ylabel("reward", color=ORANGE)
    length = curve.twinx()
    length.plot([step["step"] + 1 for step in steps], [step["response_tokens"] for step in steps], color=BLUE)
    length.set_ylabel("tokens", color=BLUE)
    length.set_ylim(0, None)
    for axes in (bars, curve, length):
        axes.spines["top"].set_visible(False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run's folder")
    parser.add_argument("picture", type=Path, help="the SVG to write")
    options = parser.parse_args()
    draw(options.run, options.picture)
