"""Asks every framework for its answers to the cases, and writes who agrees into `docs/oracle.md` (`make oracle`)."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from float64_departures import departures
from float64_reference import reference_answers
from oracle_cases import Answers, papers
from oracle_ours import our_answers

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "oracle.md"
AGREES = 1e-6
"""Above float64 rounding and the central differences, below the float32 in which two functions compute inside."""
DISTRIBUTIONS = {"TRL": "trl", "verl": "verl", "OpenRLHF": "openrlhf", "SkyRL": "skyrl", "AReaL": "areal"}
INTRODUCTION = """# Who computes the same

Each line is a loss, an estimate or an advantage on the same eight responses. The reference is written in numpy from the
papers alone (`tests/oracle/float64_reference.py`, `tests/oracle/float64_advantages.py`). The other columns show the
largest absolute difference from it, over the loss and its whole gradient, or over the tokens.

**Bold** is a difference above {agrees:.0e}; the reasons are below the table. "-" means that this framework was not
asked, mostly because it has no separate function for the case: TRL's other losses and its advantages stand inside its
trainers, where `tests/parity` compares them on a real model.

Settings that a framework's users can choose are set as rlpost's are. rlpost cuts log-ratios at 20 before it takes
`exp`, and others have such bounds too; no log-ratio of this page is beyond 5.

`make oracle` writes this page. `tests/oracle/test_float64_reference.py` holds rlpost to the reference in every run of
the tests.

Asked: {versions}.

"""
REASONS = """Each reason is the whole reason: with this change, the reference equals the framework
(`tests/oracle/float64_departures.py`).

"""


class Asked(NamedTuple):
    """The answers of one framework, and for each case the place and the reason of a difference that is known."""

    answers: Answers
    reasons: Mapping[str, tuple[str, str]]


def ask(script: str, python: Path) -> Asked:
    """Run a framework's script and read the JSON on its last line."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    done = subprocess.run(
        [python, HERE / script], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise SystemExit(f"{script} must end well; it ended with {done.returncode}:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Asked(found["answers"], {name: (place, why) for name, (place, why) in found["reasons"].items()})


def versions(python: Path) -> str:
    """Name the frameworks with their versions."""
    script = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
    command = [python, "-c", script, *DISTRIBUTIONS.values()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    return ", ".join(f"{name} {version}" for name, version in zip(DISTRIBUTIONS, found, strict=True))


def difference(answers: Answers, reference: Answers, name: str) -> float | None:
    """Return the largest absolute difference of values and gradient; nothing if the framework has no such case."""
    if name not in answers:
        return None
    pairs = zip(answers[name], reference[name], strict=True)
    return max(float(np.abs(np.subtract(mine, theirs)).max(initial=0.0)) for mine, theirs in pairs)


def cell(found: float | None) -> str:
    """Write a difference; everything below 1e-8 is rounding, whose last digits differ between machines."""
    if found is None:
        return "-"
    if found > AGREES:
        return f"**{found:.1e}**"
    return "< 1e-8" if found < 1e-8 else "< 1e-6"


def explanations(frameworks: Mapping[str, Asked], reference: Answers) -> tuple[list[str], list[str]]:
    """Return a line for each difference with its reason, and a sentence for each that its reason does not explain.

    A reason explains a difference if the reference, changed as the reason says, equals the framework.
    """
    lines: list[str] = []
    unexplained: list[str] = []
    known = departures()
    for name, _ in papers():
        for who, found in frameworks.items():
            size = difference(found.answers, reference, name) or 0.0
            if size <= AGREES and name in found.reasons:
                unexplained.append(f"{who} has a reason at {name}, where it does not differ any more: remove it")
            if size <= AGREES:
                continue
            if name not in found.reasons or (who, name) not in known:
                unexplained.append(f"{who} differs by {size:.1e} at {name}, without a reason or a departure")
                continue
            rest = difference(found.answers, {name: known[who, name]}, name) or 0.0
            if rest > AGREES:
                unexplained.append(f"{who} differs by {size:.1e} at {name}, and by {rest:.1e} from its departure")
            place, why = found.reasons[name]
            lines.append(f"| {name} | {who} | `{place}` | {why} |")
    return lines, unexplained


def page(frameworks: Mapping[str, Asked], reference: Answers, *, reasons: Sequence[str], asked: str) -> str:
    """Write the page."""
    lines = [f"| | {' | '.join(frameworks)} | source |", "|---" * (len(frameworks) + 2) + "|"]
    for name, paper in papers():
        cells = [cell(difference(found.answers, reference, name)) for found in frameworks.values()]
        lines.append(f"| {name} | {' | '.join(cells)} | {paper} |")
    head = INTRODUCTION.format(agrees=AGREES, versions=asked)
    table = "\n".join(lines)
    why = "\n".join(["| | framework | line | reason |", "|---|---|---|---|", *reasons])
    return f"{head}{table}\n\n## Where they differ, and why\n\n{REASONS}{why}\n"


def main() -> None:
    """Write the page; end with 1 if a difference is not explained, rlpost's among them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="the Python that has the other frameworks")
    python = parser.parse_args().python
    frameworks = {"rlpost": Asked(our_answers(), {})} | {
        who: ask(f"oracle_{distribution}.py", python) for who, distribution in DISTRIBUTIONS.items()
    }
    reference = reference_answers()
    reasons, unexplained = explanations(frameworks, reference)
    if unexplained:
        sys.exit(
            "every difference must have a reason in the framework's script, and equal its departure in "
            "float64_departures.py; found\n" + "\n".join(unexplained)
        )
    text = page(frameworks, reference, reasons=reasons, asked=versions(python))
    PAGE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
