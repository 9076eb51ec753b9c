"""A few mutations at every test run, `make fuzz` has thousands; and what the harness calls a violation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import fuzz_runs
import pytest
from fuzz_cases import case_called, write_case
from fuzz_ground import ROOT, make_ground
from fuzz_runs import Outcome, run_case

from rlpost.errors import RecipeError, RlpostError

FUZZ = Path(__file__).with_name("run_fuzz.py")
BROKEN_WORKERS = """
import os, sys, time
from pathlib import Path
import fuzz_workers
from fuzz_cases import case_called
from fuzz_runs import Outcome

def broken(case, *, ground, note):
    note((f"what {case.name} is",))
    what = case.name.partition("/")[2]
    while what == "computes without end":
        pass
    if what == "waits without end":
        time.sleep(100)
    if what == "dies":
        os.abort()
    return Outcome(case=case, result="ran", message="")

fuzz_workers.run_case, fuzz_workers.CPU_S, fuzz_workers.CLOCK_S = broken, 0, 5.0
names = ["computes without end", "waits without end", "dies", "is fine", "is fine too"]
cases = [case_called(f"start/{name}") for name in names]
show = lambda outcome: print(outcome.case.name, outcome.result, outcome.message, outcome.told, sep=" | ")
fuzz_workers.run_cases(cases, ground=Path(sys.argv[1]), workers=2, on_outcome=show)
"""


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests", FUZZ.parent)))}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=200
    )


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "ground"
    make_ground(folder)
    return folder


def small(ground: Path) -> Outcome:
    return run_case(case_called("start/small.yaml"), ground=ground)


def test_mutations_are_refused_in_words_or_run_to_whole_artifacts(tmp_path: Path) -> None:
    numbers = ("--recipes", "60", "--data", "20", "--commands", "2", "--seed", "1")
    ended = run_python(str(FUZZ), *numbers, "--json", str(tmp_path / "all.json"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    outcomes = json.loads((tmp_path / "all.json").read_text())
    results = Counter((one["case"].partition("/")[0], one["result"].partition(" ")[0]) for one in outcomes)
    # Mutations that are all refused would say little.
    assert results["recipe", "ran"] >= 10 and results["data", "ran"] >= 3
    assert results["recipe", "ran"] + results["recipe", "refused"] == 60
    assert results["data", "ran"] + results["data", "refused"] == 20
    assert results["recipe", "command,"] == 2


def test_a_name_makes_the_same_case_again(ground: Path, tmp_path: Path) -> None:
    for kind in ("recipe", "data"):
        texts = []
        for attempt in ("one", "two"):
            (tmp_path / kind / attempt).mkdir(parents=True)
            for path in ground.iterdir():
                (tmp_path / kind / attempt / path.name).symlink_to(path)
            texts.append(write_case(case_called(f"{kind}/7/3"), tmp_path / kind / attempt))
        assert texts[0].told == texts[1].told and len(texts[0].told) > 1
        assert texts[0].recipe.read_bytes() == texts[1].recipe.read_bytes()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("steps"), "KeyError: 'steps'"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (RecipeError("no"), "an error must say in words what must hold, found 'no'"),
        (RlpostError("must fit on a screen " * 200), "an error must fit on a screen, found 4200 characters"),
        (RlpostError("a recipe must be another one"), "a recipe must be refused with exit code 2, found 1"),
    ],
)
def test_what_escapes_or_says_too_little_or_too_much_is_a_violation(
    ground: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def load_checked(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(fuzz_runs, "load_checked", load_checked)
    outcome = small(ground)
    assert outcome.result == "violation" and outcome.message.startswith(words)


def test_what_is_half_written_or_no_json_is_a_violation(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fuzz_runs._check_folder

    def spoiled(name: str, content: str) -> str:
        def check(output: Path, *, finished: bool) -> None:
            (output / name).write_text(content)
            whole(output, finished=finished)

        monkeypatch.setattr(fuzz_runs, "_check_folder", check)
        outcome = small(ground)
        assert outcome.result == "violation"
        return outcome.message

    assert spoiled("writing-summary.json", "{}") == "writing-summary.json must not be left behind"
    assert spoiled("more.jsonl", '{"a": 1}\n{"a": NaN}\n') == "more.jsonl must be JSON: NaN is no JSON"
    assert "must be as it was when its stage finished" in spoiled("stages/01-sft/model/config.json", "{ }")


def test_a_case_that_hangs_or_dies_is_a_finding_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "ground").mkdir()
    ended = run_python("-c", BROKEN_WORKERS, str(tmp_path / "ground"))
    assert ended.returncode == 0, ended.stderr
    found = dict(line.split(" | ", 1) for line in ended.stdout.splitlines())
    assert found["start/computes without end"].startswith("violation | no end after 0 s of computing | <string>, line")
    assert found["start/waits without end"].startswith("violation | no end after 5 s | <string>, line")
    assert found["start/dies"].startswith("violation | the process died: SIGABRT | ")
    assert "what start/dies is" in found["start/dies"]
    assert found["start/is fine"] == found["start/is fine too"] == "ran |  | ()"
