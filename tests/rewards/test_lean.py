from __future__ import annotations

import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rewards import lean as lean_module
from rewards.lean import CASES, proof
from rewards.lean_text import refused_word, without_comments
from rlpost.records import Fault, Mark, Sample, Verdict
from rlpost.scoring.authoring import Case, case_failure

ONE = "theorem one_add_one : 1 + 1 = 2"


@pytest.fixture
def lean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A path with a blank in it to the stand-in; its HOME is a folder of the test."""
    path = tmp_path / "a folder" / "lean"
    path.parent.mkdir()
    # This very interpreter: what `env` finds may be a wrapper that adds to the environment.
    stand_in = Path(__file__).with_name("lean_stand_in.py").read_text(encoding="utf-8").partition("\n")[2]
    path.write_text(f"#!{sys.executable}\n{stand_in}", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SECRET_TOKEN", "not for compilers")
    monkeypatch.setattr(lean_module, "_pinned", {})
    return str(path)


def judged(response: str, gold: Any = ONE, **params: Any) -> Verdict:
    return proof.judge(Sample(id="s", prompt="", response=response, gold=gold), params=params)


@pytest.mark.parametrize("case", CASES, ids=[case.response[:30] for case in CASES])
def test_cases_with_a_compiler(case: Case, lean: str) -> None:
    verdict = proof.judge(case.sample(), params=proof.validated({**case.params, "lean": lean}))
    assert case_failure(proof, case, verdict=verdict) is None


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.expect != "accept"], ids=lambda case: case.response[:30]
)
def test_what_is_refused_is_refused_without_a_compiler(case: Case) -> None:
    assert proof.judge(case.sample(), params={"lean": "/nowhere/lean"}).score == 0.0


@pytest.mark.parametrize("lean", ["/nowhere/lean", "/etc/passwd", "no-such-lean-anywhere"])
def test_a_missing_compiler_is_an_infra_fault_that_says_what_to_do(lean: str) -> None:
    verdict = judged(f"{ONE} := rfl", lean=lean)
    assert (verdict.fault, verdict.marks) == (Fault.INFRA, (Mark.PERMANENT,))
    assert "install Lean 4, or set `lean` to its path" in verdict.reason


@pytest.mark.parametrize(
    ("body", "score", "reason"),
    [
        (":= rfl", 1.0, "proved"),
        (":= usual_axioms", 1.0, "proved"),
        (":= foreign_axiom", 0.0, "rests on cheat"),
        (":= other_type", 0.0, "proves another statement"),
        (":= bad_proof", 0.0, "does not compile: unsolved goals"),
    ],
)
def test_the_verdict_follows_the_compiler(lean: str, body: str, score: float, reason: str) -> None:
    verdict = judged(f"{ONE} {body}", lean=lean)
    assert (verdict.score, verdict.reason) == (score, reason)


def test_a_proof_past_its_deadline_is_a_policy_fault_and_nothing_is_left_running(lean: str, tmp_path: Path) -> None:
    started = time.monotonic()
    verdict = judged(f"{ONE} := slow_proof", lean=lean, compile_seconds=1.5)
    assert (verdict.fault, verdict.reason) == (Fault.POLICY, "the proof took more than 1.5 s")
    assert time.monotonic() - started < 10
    child = int((tmp_path / "child.pid").read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _runs(child):
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        return "\tZ" not in Path(f"/proc/{pid}/status").read_text().split("State:")[1].splitlines()[0]
    except FileNotFoundError:
        return False


def test_a_proof_that_floods_is_a_policy_fault(lean: str) -> None:
    assert judged(f"{ONE} := loud_proof", lean=lean).fault is Fault.POLICY


def test_a_compiler_that_dies_of_the_proof_gives_nothing(lean: str) -> None:
    verdict = judged(f"{ONE} := dead_proof", lean=lean)
    assert (verdict.score, verdict.fault) == (0.0, None)


def test_a_compiler_that_does_not_name_the_axioms_is_an_infra_fault(lean: str) -> None:
    verdict = judged(f"{ONE} := mute_proof", lean=lean)
    assert (verdict.fault, verdict.tags) == (Fault.INFRA, ())


@pytest.mark.parametrize(
    "gold",
    [
        "",
        3,
        "example : 1 = 1",
        "theorem : 1 = 1",
        "theorem x",
        "1 + 1 = 2",
        {"statement": ONE, "imports": "Mathlib"},
        {"statement": ONE, "imports": ["Mathlib\naxiom x : False"]},
        {"statement": ONE, "opening": "run_cmd IO.println 1"},
        {"statement": ONE, "opening": "axiom x : False"},
        {"opening": "open Nat"},
    ],
)
def test_a_gold_that_is_no_statement_is_a_gold_fault(gold: Any) -> None:
    assert judged(f"{ONE} := rfl", gold).fault is Fault.GOLD


def test_a_statement_that_does_not_compile_is_a_gold_fault(lean: str) -> None:
    assert judged("theorem t : bad_proof := rfl", "theorem t : bad_proof", lean=lean).fault is Fault.GOLD


def test_imports_of_the_gold_are_allowed_and_others_are_not(lean: str, tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "Mathlib.olean").write_text("")
    gold = {"statement": ONE, "imports": ["Mathlib"], "opening": "open Nat"}
    params = {"lean": lean, "lean_path": str(tmp_path / "library")}
    assert judged(f"import Mathlib\nopen Nat\n{ONE} := rfl", gold, **params).score == 1.0
    assert judged(f"import Lake\n{ONE} := rfl", gold, **params).reason == "`import` is refused"
    assert judged(f"{ONE} := rfl", {**gold, "imports": ["Other"]}, **params).fault is Fault.GOLD


def test_the_statement_is_compiled_once_for_a_group(lean: str) -> None:
    assert judged(f"{ONE} := rfl", lean=lean).score == 1.0
    [compiled] = lean_module._pinned.values()
    assert b"theorem one_add_one : 1 + 1 = 2 := by sorry" in compiled
    assert judged("by decide", lean=lean).score == 1.0
    assert list(lean_module._pinned.values()) == [compiled]


def test_nothing_is_left_in_the_folder_for_temporary_files(lean: str, tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert judged(f"{ONE} := rfl", lean=lean).score == 1.0
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "attack",
    [
        "instance : OfNat Nat 2 := \u27e81\u27e9",
        'local notation "\u2115" => Unit',
        "attribute [simp] foo",
        "@[simp] theorem a : True := trivial",
        "@[implemented_by x] def a := 1",
        "open Lean Elab",
        'elab "x" : tactic => pure ()',
        "#print axioms one_add_one",
        "#exit",
        'run_cmd Lean.logInfo "x"',
        "unsafe def a := 1",
        "initialize x : Nat \u2190 pure 1",
        "deriving instance Repr for X",
        "open Nat in set_option maxRecDepth 1 in",
        "theorem a : False := by admit",
        "theorem a : False := by stop trivial",
        "import Other",
    ],
)
def test_words_that_change_what_other_text_means_are_refused(attack: str) -> None:
    verdict = judged(f"{attack}\n{ONE} := rfl", lean="/nowhere/lean")
    assert (verdict.score, verdict.tags) == (0.0, ("refused",))


@pytest.mark.parametrize("prose", [f"I looked at {ONE} := rfl", f"something or {ONE} := rfl", f"12 {ONE} := rfl"])
def test_prose_around_a_theorem_is_refused_without_a_compiler(prose: str) -> None:
    assert judged(prose, lean="/nowhere/lean").reason == "does not begin with a declaration"


def test_harmless_code_is_not_refused() -> None:
    code = (
        "open Nat\nvariable (n : Nat)\ndef f (n : Nat) := n\nlemma localised : True := by\n  simp [f] at *\n  exact #s"
    )
    assert refused_word(code, words=lean_module._REFUSED) is None


@pytest.mark.parametrize(
    ("code", "left"),
    [
        ("a -- sorry\nb", "a  \nb"),
        ("a /- x /- y -/ z -/ b", "a   b"),
        ('"--" a', '"--" a'),
        (r'"\"" -- x', r'"\""  '),
        ("a /- b", "a  "),
        ('" /- a', '" /- a'),
        ("-/ axiom", "-/ axiom"),
    ],
)
def test_comments_are_taken_out(code: str, left: str) -> None:
    assert without_comments(code) == left


@pytest.mark.parametrize("text", ['"\\' * 25_000, "/-" * 25_000, "-/" * 25_000, "--" * 25_000, "import " * 7_000])
def test_a_flood_of_marks_takes_no_time(text: str) -> None:
    started = time.monotonic()
    assert judged(text, lean="/nowhere/lean").score == 0.0
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize("response", ["", "\0", f"{ONE} := \ud800", "a" * 10**6, "```lean\n```", "</think>" * 9])
def test_hostile_texts_get_nothing(response: str) -> None:
    verdict = judged(response, lean="/nowhere/lean")
    assert (verdict.score, verdict.fault) == (0.0, None)
