"""Runs other projects' public test cases on our verifiers, from copies of these projects outside this repository.

    .venv/bin/python benchmarks/conformance.py PATH [PATH ...] [--differences FILE]

Each PATH is a checkout of Math-Verify or of TRL. The tables of Math-Verify (gold, prediction and expectation) are read,
not run, and given to `math.equivalent`. TRL's `tests/test_rewards.py` runs with TRL's rewards replaced by ours, see
`trl_rewards.py` beside this file. No code of these projects is kept here. Prints the pass counts, and every difference
with our verdict's reason.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.registry import resolve
from rlpost.workbench.verifier_runner import VerifierRunner

COLUMNS = {"gold", "pred"}
EXPECTATIONS = ("expected", "result")
SETTINGS = {"precision", "strict", "allow_set_relation_comp", "config"}
"""Columns for tests of options that we do not have."""
TRL_TESTS = "tests/test_rewards.py"
TRL_TIMEOUT_S = 300
NOT_OURS = "rlpost has no cosine-scaled reward"
"""The error that `trl_rewards.py` raises for a reward that we leave out."""
HELPERS = """class TrlTestCase:
    pass


def require_math_latex(test):
    return test
"""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A case on which our verdict and theirs differ."""

    suite: str
    case: str
    theirs: str
    ours: str

    @property
    def why(self) -> str:
        """Our reason in a few words, by which differences are counted."""
        return "the gold cannot be read" if self.ours.startswith("gold fault") else self.ours.rpartition(": ")[2][:80]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one suite."""

    passed: int
    total: int
    left_out: Mapping[str, int]
    """Reason -> number of cases that were skipped."""
    differences: Sequence[Difference]


def main() -> None:
    """Identify each path, run its suite, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--where", default="auto", help="parameter of math.equivalent (default: auto)")
    parser.add_argument("--differences", type=Path, help="write all differences as JSON lines")
    options = parser.parse_args()
    outcomes: dict[str, Outcome] = {}
    for path in options.paths:
        if (path / TRL_TESTS).is_file():
            outcomes["TRL"] = trl_outcome(path)
        elif (path / "tests").is_dir():
            outcomes["Math-Verify"] = math_verify_outcome(path / "tests", where=options.where)
        else:
            sys.exit(f"{path} must be a checkout of Math-Verify or of TRL; it has no tests folder")
    for name, outcome in outcomes.items():
        print(f"{name}: {outcome.passed} of {outcome.total} as they expect; left out: {dict(outcome.left_out)}")
        for what, count in Counter(f"they {one.theirs}: {one.why}" for one in outcome.differences).most_common():
            print(f"  {count:4} {what}")
        for difference in outcome.differences:
            print(f"  {difference.suite}: {difference.case}\n      they {difference.theirs}; ours: {difference.ours}")
    if options.differences is not None:
        lines = [json.dumps(asdict(one)) + "\n" for outcome in outcomes.values() for one in outcome.differences]
        options.differences.write_text("".join(lines), encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One case in Math-Verify's tables."""

    suite: str
    gold: str
    prediction: str
    paid: bool


def math_verify_outcome(tests: Path, *, where: str) -> Outcome:
    """Judge every literal row of a table with gold, prediction and expectation by `math.equivalent`."""
    left_out: Counter[str] = Counter()
    rows = [row for file in sorted(tests.glob("test_*.py")) for row in table_rows(file, left_out)]
    samples = [Sample(id=row.suite, prompt="", response=row.prediction, gold=row.gold) for row in rows]
    verifier = resolve("math.equivalent")
    with VerifierRunner(verifier, workers=2) as judge:
        verdicts = judge(samples, params=verifier.validated({"where": where}))
    differences = [
        Difference(
            suite=row.suite,
            case=f"gold {row.gold!r:.150} prediction {row.prediction!r:.200}",
            theirs="pay" if row.paid else "do not pay",
            ours=_words(verdict),
        )
        for row, verdict in zip(rows, verdicts, strict=True)
        if _is_paid(verdict) != row.paid
    ]
    return Outcome(passed=len(rows) - len(differences), total=len(rows), left_out=left_out, differences=differences)


def table_rows(file: Path, left_out: Counter[str]) -> Iterator[TableRow]:
    """Yield the rows of `pytest.mark.parametrize` over gold, prediction and expectation, without executing the file."""
    for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef) or not function.name.startswith("test_"):
            continue
        tables = [call for call in function.decorator_list if isinstance(call, ast.Call) and len(call.args) >= 2]
        if not tables:
            left_out["not a table"] += 1
        for table in tables:
            yield from _rows_of_table(table, suite=f"{file.stem}.{function.name}", left_out=left_out)


def _rows_of_table(table: ast.Call, *, suite: str, left_out: Counter[str]) -> Iterator[TableRow]:
    names, rows = table.args[0], table.args[1]
    columns = [name.strip() for name in str(ast.literal_eval(names)).split(",")]
    assert isinstance(rows, ast.List), f"{suite}: a table must be written as a list"
    expectation = next((name for name in EXPECTATIONS if name in columns), None)
    if not COLUMNS.issubset(columns) or expectation is None:
        left_out["no gold and prediction"] += len(rows.elts)
        return
    for row in rows.elts:
        try:
            values: dict[str, Any] = dict(zip(columns, ast.literal_eval(row), strict=True))
        except ValueError:
            left_out["not literal"] += 1
            continue
        if SETTINGS & set(columns):
            left_out["an option that we do not have"] += 1
            continue
        yield TableRow(
            suite=suite, gold=str(values["gold"]), prediction=str(values["pred"]), paid=bool(values[expectation])
        )


def trl_outcome(checkout: Path) -> Outcome:
    """Run TRL's own tests of its rewards on ours, in a separate process and folder."""
    beside = Path(__file__).with_name("trl_rewards.py")
    with tempfile.TemporaryDirectory() as folder:
        package, stub = Path(folder) / "trl_tests", Path(folder) / "trl" / "rewards"
        package.mkdir()
        stub.mkdir(parents=True)
        (stub.parent / "__init__.py").touch()
        (package / "__init__.py").touch()
        shutil.copy(beside, stub / "__init__.py")
        shutil.copy(checkout / TRL_TESTS, package / "test_rewards.py")
        (package / "testing_utils.py").write_text(HELPERS)
        report = Path(folder) / "report.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", str(package)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder},
            capture_output=True,
            timeout=TRL_TIMEOUT_S,
            check=False,
        )
        cases = list(xml.parse(report).getroot().iter("testcase"))
    failures = [case for case in cases if case.find("failure") is not None]
    differences = [one for case in failures if NOT_OURS not in (one := _trl_difference(case)).ours]
    left_out = {NOT_OURS: len(failures) - len(differences)} if len(failures) > len(differences) else {}
    total = len(cases) - sum(left_out.values())
    return Outcome(passed=total - len(differences), total=total, left_out=left_out, differences=differences)


def _trl_difference(case: xml.Element) -> Difference:
    failure = case.find("failure")
    assert failure is not None
    suite = str(case.get("classname")).rpartition(".")[2]
    message = " ".join(str(failure.get("message")).split())
    return Difference(suite=suite, case=str(case.get("name")), theirs="expect otherwise", ours=message[:200])


def _is_paid(verdict: Verdict) -> bool:
    return verdict.fault is None and verdict.score == 1.0


def _words(verdict: Verdict) -> str:
    if verdict.fault is not None and verdict.fault is not Fault.POLICY:
        return f"{verdict.fault} fault: {verdict.reason:.150}"
    return f"score {verdict.score:g}, read {verdict.parsed!r:.80}: {verdict.reason:.150}"


if __name__ == "__main__":
    main()
