from __future__ import annotations

import pytest

import rewards.code as code
from rewards.code import output_difference, program_in, stdio, stdio_tests, unit_tests
from rlpost.errors import SandboxError
from rlpost.records import Fault, Mark, Sample, Verdict
from rlpost.scoring.authoring import Verifier

ADD = "assert add(1, 2) == 3\nassert add(2, 2) == 4"
GOOD = "```python\ndef add(a, b): return a + b\n```"


def judge(verifier: Verifier, response: str, gold: object, **params: object) -> Verdict:
    return verifier.judge(Sample(id="s", prompt="", response=response, gold=gold), params=verifier.validated(params))


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("text\n```python\na = 1\n```\nmore", "a = 1"),
        ("```python\na = 1\n```\nand\n```py\na = 2\n```", "a = 2"),
        ("```python\na = 1\n```\n```bash\nrun it\n```", "a = 1"),
        ("<think>```python\na = 1\n```</think>a = 3", "a = 3"),
        ("```python\ns = '\uff11 \u00b2'\n```", "s = '\uff11 \u00b2'"),
        ("a = 4", "a = 4"),
    ],
)
def test_the_program_of_a_response(response: str, program: str) -> None:
    assert program_in(response, on_many="last").text == program


def test_several_programs_are_a_hedge_if_the_recipe_says_so() -> None:
    wrong = "```python\ndef add(a, b): return 0\n```"
    assert judge(unit_tests, f"{wrong}\n{GOOD}", ADD).score == 1.0
    assert judge(unit_tests, f"{GOOD}\n{wrong}", ADD).score == 0.0
    hedged = judge(unit_tests, f"{wrong}\n{GOOD}", ADD, on_many="reject")
    assert (hedged.score, hedged.tags) == (0.0, ("hedged",))


@pytest.mark.parametrize("gold", [None, 3, "", ["assert add(1, 2) == 3"], "add(1, 2)", "assert (", "assert 1 == 1"])
def test_a_gold_that_cannot_judge_is_a_gold_fault_for_every_response(gold: object) -> None:
    for response in (GOOD, "", "not a program", "```python\nimport os; os._exit(0)\n```"):
        assert judge(unit_tests, response, gold).fault is Fault.GOLD


@pytest.mark.parametrize(
    "gold", [None, [], "x", [{"input": "1"}], [{"input": 1, "output": "1"}], [{"input": "", "output": ""}] * 101]
)
def test_a_gold_without_readable_tests_is_a_gold_fault(gold: object) -> None:
    assert judge(stdio, "print(1)", gold).fault is Fault.GOLD
    assert isinstance(stdio_tests(gold), str)


def test_a_sandbox_that_is_not_there_is_an_infra_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise SandboxError("this machine contains nothing")

    monkeypatch.setattr(code, "require_containment", refuse)
    for verifier, gold in ((unit_tests, ADD), (stdio, [{"input": "", "output": ""}])):
        verdict = judge(verifier, GOOD, gold)
        assert (verdict.fault, verdict.reason) == (Fault.INFRA, "this machine contains nothing")
        assert verdict.marks == (Mark.PERMANENT,)


def test_a_sandbox_that_breaks_is_an_infra_fault_that_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise SandboxError("the launcher does not answer")

    monkeypatch.setattr(code, "examine", broken)
    monkeypatch.setattr(code, "run_program", broken)
    for verifier, gold in ((unit_tests, ADD), (stdio, [{"input": "", "output": ""}])):
        verdict = judge(verifier, GOOD, gold)
        assert (verdict.fault, verdict.reason, verdict.tags) == (Fault.INFRA, "the launcher does not answer", ())


@pytest.mark.parametrize(
    ("program", "tag", "reason"),
    [
        ("def add(a, b):\n    while True: pass", "time", "out of time"),
        ("def add(a, b): return bytearray(2**40)", "memory", "failed: assert add(1, 2) == 3"),
        ("def add(a, b): return 'x' * 10**8", "output", "too much output"),
    ],
)
def test_a_limit_that_was_reached_is_a_tag(program: str, tag: str, reason: str) -> None:
    verdict = judge(unit_tests, program, ADD, time_limit_s=1.0)
    assert (verdict.score, verdict.fault) == (0.0, None)
    assert verdict.reason == reason
    assert tag in verdict.tags or tag == "memory"


@pytest.mark.parametrize(
    ("program", "tag"),
    [
        ("while True: pass", "time"),
        ("x = bytearray(2**40)", "memory"),
        ("while True: print('x' * 10**5)", "output"),
        ("import ctypes; ctypes.string_at(0)", "signal"),
    ],
)
def test_a_limit_of_a_whole_program_is_a_tag(program: str, tag: str) -> None:
    verdict = judge(stdio, program, [{"input": "", "output": "1"}], time_limit_s=1.0)
    assert (verdict.score, verdict.tags) == (0.0, (tag,))


def test_partial_credit_is_the_share_and_is_a_part_without_it() -> None:
    gold = [{"input": str(number), "output": str(min(number, 2))} for number in range(4)]
    shared = judge(stdio, "print(input())", gold, partial=True)
    assert (shared.score, shared.parts) == (0.75, {"tests_passed": 0.75})
    assert judge(stdio, "print(input())", gold).score == 0.0


def test_every_test_meets_a_fresh_program() -> None:
    program = "import os\nopen('count', 'a').write('x')\nprint(os.path.getsize('count'))"
    assert judge(stdio, program, [{"input": "", "output": "1"}] * 3).score == 1.0


@pytest.mark.parametrize(
    ("output", "expected", "reason"),
    [
        ("1\n2\n", "1\n2", ""),
        ("1  \n2\n\n", "1\n2", ""),
        ("1\r\n2\r\n", "1\n2\n", ""),
        ("1\n\n2", "1\n2", "3 lines of output, not 2"),
        (" 1", "1", "line 1 differs"),
        ("1.0", "1", "line 1 differs"),
        ("", "1", "line 1 differs"),
        ("YES", "yes", "line 1 differs"),
    ],
)
def test_outputs_are_compared_by_lines(output: str, expected: str, reason: str) -> None:
    assert output_difference(output, expected) == reason


@pytest.mark.parametrize(
    ("output", "close"),
    [("3.3333 b", True), ("3.4 b", False), ("nan b", False), ("inf b", False), ("3.3333 c", False), ("3.3333", False)],
)
def test_numbers_of_a_line_may_be_close(output: str, close: bool) -> None:
    assert (output_difference(output, "3.33333333 b", absolute_tolerance=1e-3) == "") is close
    assert (output_difference(output, "3.33333333 b", relative_tolerance=1e-4) == "") is close


def test_a_hundred_tests_with_an_unreadable_program_stop_at_the_first() -> None:
    verdict = judge(stdio, "The answer is 4.", [{"input": "", "output": "4"}] * 100)
    assert verdict.score == 0.0
    assert verdict.reason.startswith("test 1: exit status 1: SyntaxError")
    assert verdict.milliseconds < 2000


def test_a_package_that_the_sandbox_does_not_have_is_named() -> None:
    program = "```python\nimport numpy.linalg\ndef add(a, b): return a + b\nprint(3)\n```"
    for verdict in (judge(unit_tests, program, ADD), judge(stdio, program, [{"input": "", "output": "3"}])):
        assert (verdict.score, verdict.tags) == (0.0, ("missing_module",))
        assert "the program imports numpy: the sandbox has Python's standard library only" in verdict.reason
    misspelt = judge(unit_tests, program.replace("numpy", "nmpy"), ADD)
    assert misspelt.tags == () and "No module named 'nmpy'" in misspelt.reason
