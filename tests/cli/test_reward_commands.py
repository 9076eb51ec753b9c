"""`rlpost reward new`, `list`, `show`, `test`, `fuzz`, `bench` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rlpost.cli.main import app
from rlpost.scoring.registry import known_verifiers

HEDGER = '''from rlpost.records import Sample
from rlpost.scoring.authoring import Case, verifier

CASES = (
    Case(response="Paris", gold="Paris", expect="accept"),
    Case(response="Rome", gold="Rome", expect="accept"),
    Case(response="Oslo", gold="Oslo", expect="accept"),
    Case(response="Bern", gold="Paris", expect="reject"),
    Case(response="", gold="Paris", expect="reject"),
    Case(response="London", gold="Paris", expect="reject"),
    Case(response="P a r i s", gold="Paris", expect="adversarial"),
    Case(response="siraP", gold="Paris", expect="adversarial"),
    Case(response="all of them", gold="Paris", expect="adversarial"),
)


@verifier(name="my.hedger", version="2", isolation="inline", cases=CASES)
def hedger(sample: Sample) -> float:
    """Pays for the gold anywhere.

    Args:
        sample: Its gold is text.
    """
    return float(isinstance(sample.gold, str) and sample.gold in sample.response)
'''


def reward(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["reward", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


@pytest.fixture
def hedger(tmp_path: Path) -> str:
    (tmp_path / "hedger.py").write_text(HEDGER)
    return str(tmp_path / "hedger.py")


def test_new_writes_a_file_that_passes_and_says_how_to_use_it(tmp_path: Path) -> None:
    made = reward("new", "finance.ratio", "--dir", str(tmp_path / "mine"))
    path = tmp_path / "mine" / "finance_ratio.py"
    assert made.exit_code == 0
    assert f"rlpost reward test {path}" in made.stdout
    assert '"*": {verifier: finance_ratio.py:ratio}' in made.stdout
    tested = reward("test", f"{path}:ratio", "--json")
    [report] = json.loads(tested.stdout)
    assert (tested.exit_code, report["name"], report["passed"], report["failures"]) == (0, "finance.ratio", True, [])
    assert (report["ran"]["accept"], report["ran"]["reject"], report["ran"]["adversarial"]) == (3, 3, 3)


def test_new_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "finance_ratio.py").write_text("mine")
    made = reward("new", "finance.ratio", "--dir", str(tmp_path))
    assert (made.exit_code, made.stdout) == (2, "")
    assert "exists already and is not overwritten" in made.stderr
    assert (tmp_path / "finance_ratio.py").read_text() == "mine"


@pytest.mark.parametrize("name", ["Finance.Ratio", "a/b", "finance.", "finance.class", "../up", "9lives", "a b"])
def test_new_refuses_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    made = reward("new", "--dir", str(tmp_path), "--", name)
    assert made.exit_code == 2
    assert f"found {name!r}" in made.stderr
    assert list(tmp_path.iterdir()) == []


def test_new_refuses_the_name_of_an_installed_verifier(tmp_path: Path) -> None:
    made = reward("new", "math.equivalent", "--dir", str(tmp_path))
    assert (made.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "that of an installed verifier (rewards.math:equivalent)" in made.stderr


def test_list_has_every_installed_verifier() -> None:
    records = {record["name"]: record for record in json.loads(reward("list", "--json").stdout)}
    assert set(records) == set(known_verifiers())
    record = records["math.equivalent"]
    assert (record["version"], record["isolation"], record["range"]) == ("3", "process", [0.0, 1.0])
    assert record["summary"] == "1 when the final answer is mathematically equal to the gold, otherwise 0."
    assert record["cannot_run"] is None
    assert "math.equivalent  " in reward("list").stdout


def test_list_survives_a_distribution_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"broken.one": "rewards.nothing:here", "text.exact": "rewards.text:exact"}
    monkeypatch.setattr("rlpost.cli.reward.list.known_verifiers", lambda: known)
    records = json.loads(reward("list", "--json").stdout)
    assert [record["verifier"] for record in records] == [False, True]
    assert "broken.one  BROKEN: verifier rewards.nothing:here" in reward("list").stdout


def test_show_tells_parameters_with_their_docs_and_the_cases(hedger: str) -> None:
    shown = reward("show", "text.contains").stdout
    assert "max_words: int = 50\n      A longer response gets 0, so that naming everything is not rewarded." in shown
    assert "adversarial" in shown and "scores      0 to 1" in shown
    record = json.loads(reward("show", "text.contains", "--json").stdout)
    assert record["parameters"][0] == {
        "name": "max_words",
        "type": "int",
        "default": 50,
        "about": "A longer response gets 0, so that naming everything is not rewarded.",
    }
    assert "parameters  none" in reward("show", hedger).stdout


def test_a_verifier_that_fails_makes_exit_code_1_and_is_told_with_its_response(hedger: str) -> None:
    tested = reward("test", hedger, "text.exact")
    assert tested.exit_code == 1
    assert "FAILED   my.hedger@2" in tested.stdout
    assert "- gold or another: must score at most 0" in tested.stdout
    assert "response 'Paris or Oslo'  gold 'Paris'" in tested.stdout
    assert "1 passed, 1 failed, 0 skipped" in tested.stdout


def test_all_and_names_exclude_each_other_and_one_is_needed() -> None:
    for arguments in ([], ["text.exact", "--all"]):
        tested = reward("test", *arguments)
        assert (tested.exit_code, tested.stdout) == (2, "")
        assert "name the verifiers to test, or say --all" in tested.stderr


def test_with_all_one_that_cannot_be_loaded_fails_and_the_others_are_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "rlpost.cli.reward.test.known_verifiers", lambda: {"rewards.nothing:here": "", "text.exact": ""}
    )
    tested = reward("test", "--all")
    assert tested.exit_code == 1
    assert "1 passed, 1 failed, 0 skipped" in tested.stdout
    assert "- loading: verifier rewards.nothing:here: the module rewards.nothing must be importable" in tested.stdout


def test_fuzz_finds_the_hole_and_writes_a_case_that_test_holds_it_to(hedger: str, tmp_path: Path) -> None:
    found = tmp_path / "found.jsonl"
    fuzzed = reward("fuzz", hedger, "--seconds", "0.5", "--seed", "1", "--write", str(found))
    assert fuzzed.exit_code == 1
    assert "PAID  " in fuzzed.stdout
    cases = [json.loads(line) for line in found.read_text().splitlines()]
    assert {case["expect"] for case in cases} == {"adversarial"}
    assert all(case["gold"] in case["response"] for case in cases)
    tested = json.loads(reward("test", hedger, "--cases", str(found), "--json").stdout)[0]
    assert tested["ran"]["adversarial"] == 3 + len(cases)
    assert sum(failure["kind"] == "adversarial" for failure in tested["failures"]) == len(cases)


def test_fuzz_says_when_nothing_is_paid() -> None:
    fuzzed = reward("fuzz", "text.exact", "--seconds", "0.3", "--json")
    report = json.loads(fuzzed.stdout)
    assert (fuzzed.exit_code, report["findings"]) == (0, [])
    assert sum(report["tried"].values()) > 100


def test_fuzz_refuses_what_it_cannot_attack() -> None:
    fuzzed = reward("fuzz", "reasoning_gym", "--seconds", "0.1")
    assert fuzzed.exit_code == 2
    assert "cannot be attacked from its cases" in fuzzed.stderr


def test_a_file_of_cases_with_a_wrong_line_is_refused_by_its_number(hedger: str, tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text('{"response": "a", "expect": "accept"}\n\n{"response": "a", "expects": "reject"}\n')
    tested = reward("test", hedger, "--cases", str(path))
    assert tested.exit_code == 2
    assert f"{path}:3: a case has no `expects`: did you mean `expect`?" in tested.stderr


def test_bench_prints_figures_and_the_bar(hedger: str) -> None:
    measured = reward("bench", "text.exact", hedger, "--seconds", "0.2", "--json")
    first, second = json.loads(measured.stdout)
    assert (first["name"], first["bar"], first["workers"]) == ("text.exact", 20_000, 1)
    assert first["per_second"] > 0 and first["p99_ms"] >= first["p50_ms"] > 0
    assert (second["name"], second["bar"], second["met"]) == ("my.hedger", None, None)
    assert measured.exit_code == (0 if first["met"] else 1)


def test_a_missing_library_is_told_with_the_command_that_brings_it(hedger: str, tmp_path: Path) -> None:
    path = tmp_path / "needy.py"
    path.write_text(HEDGER.replace('version="2"', 'version="2", extra="chem", modules=("not_there_at_all",)'))
    for arguments in (["fuzz", str(path)], ["bench", str(path)]):
        refused = reward(*arguments)
        assert refused.exit_code == 2
        assert "cannot run here: it needs not_there_at_all: pip install 'rlpost[chem]'" in refused.stderr
    tested = reward("test", str(path))
    assert tested.exit_code == 1
    assert "SKIPPED  my.hedger@2: it needs not_there_at_all: pip install 'rlpost[chem]'" in tested.stdout
    assert "0 passed, 0 failed, 1 skipped" in tested.stdout


def test_all_verifiers_of_a_file_are_tested(tmp_path: Path) -> None:
    second = HEDGER.partition("\n\n@verifier")[2].replace("my.hedger", "my.strict").replace("def hedger", "def strict")
    (tmp_path / "two.py").write_text(f"{HEDGER}\n\n@verifier{second}")
    told = reward("test", str(tmp_path / "two.py")).output
    assert "my.hedger" in told and "my.strict" in told
    cases = reward("test", str(tmp_path / "two.py"), "--cases", str(tmp_path / "none.jsonl"))
    assert "--cases needs exactly one verifier to hold to them; found 2: name one" in cases.output


def test_show_writes_types_as_a_person_would() -> None:
    told = reward("show", "number.close").output
    assert "relative_tolerance: float | None = None" in told
    assert "Annotated" not in told and "FieldInfo" not in told
