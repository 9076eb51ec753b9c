"""Programs, run in `rlpost.sandbox` and judged by asserts on their functions or by their output for given input.

The default of `on_many` is `last` here and `reject` in the other verifiers: a response with several programs usually
works up to the last one, and naming several gains nothing, since only one is run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

from rewards.code_cases import STDIO_CASES, UNIT_TEST_CASES
from rewards.extraction import Extracted, OnMany
from rewards.fenced_blocks import fenced_or_whole
from rlpost.errors import SandboxError
from rlpost.records import Fault, Mark, Sample, Verdict
from rlpost.sandbox.examination import Examination, examine
from rlpost.sandbox.limits import STANDARD, Limits
from rlpost.sandbox.programs import Ran, run_program
from rlpost.sandbox.self_test import require_containment
from rlpost.scoring.authoring import verifier

PYTHON = frozenset({"python", "py", "python3", "py3"})
MOST_TESTS = 100
LONGEST_PROGRAM = 200_000
"""Longest program in characters; no honest answer comes close."""
_MISSING = "the sandbox has Python's standard library only; say so in the prompt, or judge with a service"
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")
_PACKAGES = frozenset(
    ["numpy", "pandas", "scipy", "sympy", "sortedcontainers", "networkx", "torch", "sklearn", "requests"]
)
"""Packages that are often installed where such programs run; a name that does not exist at all is a plain mistake."""
_STOPPED_REASONS = {
    "time": "out of time",
    "memory": "out of memory",
    "output": "too much output",
    "signal": "crashed",
}


@verifier(
    name="code.unit_tests", version="2", isolation="sandbox", timeout_s=30.0, memory_mib=4096, cases=UNIT_TEST_CASES
)
def unit_tests(
    sample: Sample,
    *,
    on_many: OnMany = "last",
    partial: bool = False,
    shared_arguments: bool = False,
    time_limit_s: float = 4.0,
    program_memory_mib: int = 512,
) -> Verdict:
    """1 when the program passes all asserts of the gold, otherwise 0, or the share of asserts that pass.

    Program and asserts run in two processes that exchange plain data. An object without a plain form stays in the
    program's process; the asserts may call its methods, and it equals only itself.

    Args:
        sample: Its gold is Python: asserts and the code that prepares them. Names that it does not define come from the
            program.
        on_many: Whether several programs in the response are rejected or the last one counts.
        partial: Give the share of asserts that pass as the score.
        shared_arguments: Whether the program may change lists, dicts and sets in place that the asserts passed to it.
            Off by default, because it lets a program corrupt the data that its result is compared with.
        time_limit_s: Processor time of the program, and also of the asserts.
        program_memory_mib: Address space of each of the two, beyond that of the bare interpreter.
    """
    gold = cast("object", sample.gold)
    if not isinstance(gold, str) or not gold.strip():
        return Verdict(fault=Fault.GOLD, reason=f"the gold {gold!r:.100} is not a text of asserts")
    refused = _refusal()
    if refused is not None:
        return refused
    limits = _limits(time_limit_s, program_memory_mib)
    found = program_in(sample.response, on_many=on_many)
    try:
        # Run even without a program, so that an unreadable gold is a gold fault whatever the response is.
        result = examine(found.text or "", gold, partial=partial, shared=shared_arguments, limits=limits)
    except SandboxError as error:
        return Verdict(fault=Fault.INFRA, reason=str(error))
    if result.unreadable:
        return Verdict(fault=Fault.GOLD, reason=result.unreadable)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    return _verdict_of(result, partial=partial)


@verifier(name="code.stdio", version="2", isolation="sandbox", timeout_s=120.0, memory_mib=4096, cases=STDIO_CASES)
def stdio(
    sample: Sample,
    *,
    on_many: OnMany = "last",
    partial: bool = False,
    relative_tolerance: float = 0.0,
    absolute_tolerance: float = 0.0,
    time_limit_s: float = 4.0,
    program_memory_mib: int = 512,
) -> Verdict:
    """1 when the program turns each input of the gold into its expected output, otherwise 0, or the share of passed
    tests.

    Outputs are compared line by line; trailing white space and empty lines at the end are ignored.

    Args:
        sample: Its gold is a list of at most 100 `{input, output}`, both texts.
        on_many: Whether several programs in the response are rejected or the last one counts.
        partial: Give the share of tests that pass as the score.
        relative_tolerance: Largest relative difference of two numbers that count as equal; with 0, texts are compared.
        absolute_tolerance: Largest absolute difference; with 0, texts are compared.
        time_limit_s: Processor time of each test.
        program_memory_mib: Address space beyond that of the bare interpreter.
    """
    tests = stdio_tests(sample.gold)
    if isinstance(tests, str):
        return Verdict(fault=Fault.GOLD, reason=tests)
    found = program_in(sample.response, on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    refused = _refusal()
    if refused is not None:
        return refused
    limits = _limits(time_limit_s, program_memory_mib)
    passed, reason, tags = 0, "", tuple[str, ...]()
    try:
        for number, test in enumerate(tests, start=1):
            ran = run_program(found.text, stdin=test.given, limits=limits)
            why = _program_failure(ran) or output_difference(
                ran.stdout.decode(errors="replace"), test.expected, relative_tolerance, absolute_tolerance
            )
            passed += not why
            if why and not reason:
                stopped = ran.stopped or ("missing_module" if _MISSING in why else "")
                reason, tags = f"test {number}: {why}", (stopped,) if stopped else ()
            if why and not partial:
                break
    except SandboxError as error:
        return Verdict(fault=Fault.INFRA, reason=str(error))
    return share_verdict(passed, len(tests), reason=reason, tags=tags, partial=partial)


def program_in(response: str, *, on_many: OnMany) -> Extracted:
    """Return the Python program in a response. Without a code fence, the whole response is run as a program."""
    found = fenced_or_whole(response, languages=PYTHON, on_many=on_many)
    if found.text is not None and len(found.text) > LONGEST_PROGRAM:
        return Extracted(text=None, reason=f"more than {LONGEST_PROGRAM} characters", tags=("stuffed",))
    return found


class StdioTest(NamedTuple):
    """One input and the expected output."""

    given: str
    expected: str


def stdio_tests(gold: object) -> list[StdioTest] | str:
    """Read the tests of a gold; return the reason if they cannot be read."""
    if not isinstance(gold, list | tuple) or not 1 <= len(cast("list[Any]", gold)) <= MOST_TESTS:
        return f"the gold {gold!r:.100} is not a list of 1 to {MOST_TESTS} tests"
    tests: list[StdioTest] = []
    for number, test in enumerate(cast("list[object]", gold), start=1):
        pair = cast("Mapping[str, object]", test) if isinstance(test, Mapping) else {}
        given, expected = pair.get("input"), pair.get("output")
        if not isinstance(given, str) or not isinstance(expected, str):
            return f"test {number} of the gold has no texts `input` and `output`"
        tests.append(StdioTest(given=given, expected=expected))
    return tests


def output_difference(
    output: str, expected: str, relative_tolerance: float = 0.0, absolute_tolerance: float = 0.0
) -> str:
    """Describe the first difference between two outputs; empty if there is none."""
    got, wanted = _lines(output), _lines(expected)
    if len(got) != len(wanted):
        return f"{len(got)} lines of output, not {len(wanted)}"
    tolerant = relative_tolerance > 0 or absolute_tolerance > 0
    for number, (one, other) in enumerate(zip(got, wanted, strict=True), start=1):
        if one == other:
            continue
        if not tolerant or not _close_lines(one, other, relative_tolerance, absolute_tolerance):
            return f"line {number} differs"
    return ""


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _close_lines(line: str, expected: str, relative_tolerance: float, absolute_tolerance: float) -> bool:
    """Whether two lines agree word by word, with tolerances for numbers."""
    words, wanted = line.split(), expected.split()
    return len(words) == len(wanted) and all(
        one == other or _close(one, other, relative_tolerance, absolute_tolerance)
        for one, other in zip(words, wanted, strict=True)
    )


def _close(word: str, expected: str, relative_tolerance: float, absolute_tolerance: float) -> bool:
    try:
        value, wanted = float(word), float(expected)
    except ValueError:
        return False
    # With a tolerance relative to the larger number, an infinite answer would be close to anything.
    near = abs(value - wanted) <= max(absolute_tolerance, relative_tolerance * abs(wanted))
    return near and math.isfinite(value)


def _refusal() -> Verdict | None:
    """Return the fault if this machine cannot contain programs, which a second attempt would not change."""
    try:
        require_containment()
    except SandboxError as error:
        return Verdict(fault=Fault.INFRA, reason=str(error), marks=(Mark.PERMANENT,))
    return None


def _limits(time_limit_s: float, program_memory_mib: int) -> Limits:
    return replace(STANDARD, cpu_s=time_limit_s, wall_s=2 * time_limit_s + 2.0, memory_mib=program_memory_mib)


def _program_failure(ran: Ran) -> str:
    if ran.stopped:
        return _STOPPED_REASONS[ran.stopped]
    if ran.ended.exit_code == 0:
        return ""
    lines = ran.stderr.decode(errors="replace").strip().splitlines()
    missing = missing_module(lines[-1] if lines else "")
    if missing is not None:
        return _says_missing(missing)
    return f"exit status {ran.ended.exit_code}: {lines[-1] if lines else ''!s:.100}"


def missing_module(failure: str) -> str | None:
    """Return the package that a program asked for and the sandbox does not have; None if that is not what happened."""
    found = _NO_MODULE.search(failure)
    package = found[1].partition(".")[0] if found is not None else ""
    return package if package in _PACKAGES else None


def _says_missing(package: str) -> str:
    return f"the program imports {package}: {_MISSING}"


def _verdict_of(result: Examination, *, partial: bool) -> Verdict:
    missing = missing_module(result.failure)
    if missing is not None:
        return share_verdict(
            result.passed, result.units, reason=_says_missing(missing), tags=("missing_module",), partial=partial
        )
    stopped = result.stopped or ("memory" if "MemoryError" in result.failure else "")
    reason = _STOPPED_REASONS[result.stopped] if result.stopped else result.failure
    return share_verdict(
        result.passed, result.units, reason=reason, tags=(stopped,) if stopped else (), partial=partial
    )


def share_verdict(passed: int, tests: int, *, reason: str, tags: tuple[str, ...], partial: bool) -> Verdict:
    """Return the verdict for `passed` out of `tests` tests."""
    share = passed / tests if tests else 0.0
    score = share if partial else float(tests > 0 and passed == tests)
    return Verdict(
        score=score, parts={"tests_passed": share}, reason=reason[:200] or f"all {tests} tests passed", tags=tags
    )
