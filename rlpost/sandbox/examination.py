"""Runs asserts against a program, each in its own guest; all messages between the two pass through here as plain JSON.

The program's guest learns the arguments of the calls and nothing else. The asserts' guest gets values that were parsed
and re-encoded here, so that no object or code of the program reaches it. Its lines carry a nonce that only this process
and that guest know.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import time
from dataclasses import dataclass
from typing import Any

from rlpost.sandbox.host import Guest, launcher
from rlpost.sandbox.limits import Limits
from rlpost.sandbox.programs import Stopped

_QUESTION_KEYS = {"do": str, "args": list, "kwargs": dict, "value": object, "raised": object, "message": str}
_ANSWER_KEYS = {
    "value": object, "changed": dict, "raised": object, "message": str, "missing": bool, "callback": int,
    "args": list, "kwargs": dict,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """The result of running asserts against a program."""

    units: int
    """Number of asserts, as `assert_units` counts them; 0 if it is not known."""
    passed: int
    unreadable: str = ""
    """The reason why these asserts can judge no program."""
    failure: str = ""
    """The first assert that failed, or how the program ended."""
    stopped: Stopped = ""


def examine(program: str, tests: str, *, partial: bool, shared: bool, limits: Limits) -> Examination:
    """Run asserts against a program.

    Args:
        program: Source whose names the asserts use.
        tests: Source of the asserts.
        partial: Continue after the first failure.
        shared: If the program changes an argument in place, the asserts see the change.
        limits: Limits of each of the two guests.

    Raises:
        SandboxError: the sandbox cannot run anything; the program is not to blame.
    """
    nonce = secrets.token_hex(16)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        jobs = {"tests": {"tests": tests, "nonce": nonce, "partial": partial, "shared": shared}}
        jobs["server"] = {"program": program, "shared": shared}
        started = [launcher().start(role, job, limits=limits, descriptors=[null] * 3) for role, job in jobs.items()]
    finally:
        os.close(null)
    with started[0] as tests_guest, started[1] as program_guest:
        sitting = _Sitting(tests_guest, program_guest, nonce)
        sitting.run()
        return sitting.result()


class _Sitting:
    """The exchange of messages between the two guests."""

    def __init__(self, tests: Guest, program: Guest, nonce: str) -> None:
        self._tests = tests
        self._program = program
        self._nonce = nonce
        self._is_loaded = False
        self._is_over = False
        self._program_failure = ""
        self._question: dict[str, Any] | None = None
        """The question of the asserts that the program has not answered yet."""
        self._units = 0
        self._passed = 0
        self._has_asked = False
        self._failure = ""
        self._unreadable = ""
        self._stopped: Stopped = ""

    def run(self) -> None:
        """Carry questions and answers until the asserts are done, or a guest ends or breaks a rule."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._tests.channel, selectors.EVENT_READ, self._tests)
            selector.register(self._program.channel, selectors.EVENT_READ, self._program)
            while not self._is_over:
                remaining = self._tests.deadline - time.monotonic()
                if remaining <= 0:
                    self._stopped = "time"
                    return
                for key, _ in selector.select(remaining):
                    guest: Guest = key.data
                    lines = guest.receive()
                    if lines is None:
                        selector.unregister(guest.channel)
                        self._closed(guest)
                    elif guest.received_bytes > guest.limits.output_bytes:
                        self._stopped, self._is_over = "output", True
                    else:
                        self._take(guest, lines)

    def result(self) -> Examination:
        """The result of the exchange."""
        ended = [guest.end() for guest in (self._tests, self._program)]
        out_of_time = any(end.passed_time_limit(self._tests.limits) for end in ended)
        finished = bool(self._units) and self._passed == self._units
        if finished and not self._has_asked:
            self._unreadable = "no assert asks anything of the program"
        stopped = self._stopped
        if not finished and not stopped and out_of_time:
            stopped = "time"
        failure = self._program_failure or self._failure
        if not finished and not failure and not stopped:
            failure = "the tests did not come to their end"
        return Examination(
            units=self._units, passed=self._passed, unreadable=self._unreadable, failure=failure, stopped=stopped
        )

    def _take(self, guest: Guest, lines: list[bytes]) -> None:
        for line in lines:
            if self._is_over:
                return
            if guest is self._tests:
                try:
                    self._from_tests(json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    self._unreadable, self._is_over = "the tests interfere with their own process", True
                continue
            try:
                self._from_program(_kept(json.loads(line), {"loaded": bool, "failed": str, **_ANSWER_KEYS}))
            except (ValueError, RecursionError):
                self._program_gone("the program wrote something else than answers")

    def _from_tests(self, message: dict[str, Any]) -> None:
        if message.get("nonce") != self._nonce:
            return
        if "ask" in message:
            self._question = _kept(message["ask"], _QUESTION_KEYS)
            self._pass_question_on()
        elif "units" in message:
            self._units = message["units"]
        elif "passed" in message:
            self._passed += message["passed"]
            self._has_asked = self._has_asked or message["asked"]
            if not message["passed"]:
                self._failure = self._failure or f"failed: {message['text']}"
        elif "unreadable" in message:
            self._unreadable, self._is_over = message["unreadable"], True
        elif "end" in message:
            self._is_over = True

    def _from_program(self, message: dict[str, Any]) -> None:
        if "failed" in message:
            self._program_gone(f"the program failed: {message['failed']:.200}")
        elif "loaded" in message:
            self._is_loaded = True
            self._pass_question_on()
        elif self._question is not None:  # answers without a question are ignored
            self._question = None
            self._tests.send(message)

    def _pass_question_on(self) -> None:
        if self._question is None:
            return
        if self._program_failure:
            self._is_over = True
        elif self._is_loaded:
            self._program.send(self._question)

    def _program_gone(self, why: str) -> None:
        """Record that the program answers no more. The asserts are still read, since they may be faulty too."""
        self._program_failure = self._program_failure or why
        self._pass_question_on()

    def _closed(self, guest: Guest) -> None:
        if guest is self._tests:
            self._is_over = True
        else:
            self._program_gone("the program ended before its tests did")


def _kept(message: Any, keys: dict[str, type]) -> dict[str, Any]:
    """Keep the known fields of a message.

    Raises:
        ValueError: it is not a message, or a field has the wrong type.
    """
    if not isinstance(message, dict):
        raise ValueError("not an object")
    kept: dict[str, Any] = {key: message[key] for key in keys if key in message}
    if not all(isinstance(value, keys[key]) for key, value in kept.items()):
        raise ValueError("a part of another type")
    return kept
