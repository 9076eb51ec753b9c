"""Programs that a service runs, judged by their output, for machines that cannot contain programs or have no spare
cores.

Two kinds of service are supported. SandboxFusion: one `POST <service>/run_code` per test, with code and standard input
(https://github.com/bytedance/SandboxFusion). E2B and compatible services: one sandbox per sample, made by `POST
<service>/sandboxes`, one `POST /execute` in it per test, answered by lines of JSON, and a `DELETE` at the end
(https://github.com/e2b-dev/code-interpreter). Expected outputs never leave this process.

A service that is unreachable, or reports a failure of its own, is an infra fault, which the runtime retries after a
growing delay. The service is responsible for containing the program.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast
from weakref import WeakKeyDictionary

from rewards.code import output_difference, program_in, share_verdict, stdio_tests
from rewards.code_cases import STDIO_CASES
from rewards.extraction import OnMany
from rewards.judge_client import Endpoint
from rlpost.errors import RewardError
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import verifier

if TYPE_CHECKING:
    from httpx import AsyncClient, Response

Protocol = Literal["sandbox_fusion", "e2b"]
OVERHEAD_S = 20.0
"""Seconds that a service may take beyond the program's own time, for one request."""
MOST_OUTPUT = 4 * 2**20
_E2B_CELL = """import json, subprocess, sys
try:
    ran = subprocess.run([sys.executable, "-c", {program}], input={given}, capture_output=True, text=True, timeout={seconds})
    found = [ran.returncode, ran.stdout[:{most}], ran.stderr[-1000:]]
except subprocess.TimeoutExpired:
    found = None
print({nonce} + json.dumps(found))
"""  # noqa: E501 - a program, whose lines are its own


class RemoteRun(NamedTuple):
    """The result of one run, as reported by the service."""

    timed_out: bool
    exit_code: int
    stdout: str
    stderr: str


@verifier(
    name="code.stdio_by_service",
    version="2",
    isolation="remote",
    timeout_s=300.0,
    largest_batch=64,
    extra="judge",
    modules=("httpx",),
    cases=STDIO_CASES,
)
async def stdio_by_service(
    sample: Sample,
    *,
    service: Endpoint = "",
    protocol: Protocol = "sandbox_fusion",
    api_key_env: str = "",
    e2b_template: str = "code-interpreter-v1",
    e2b_sandbox_url: str = "https://49999-{sandbox}.e2b.app",
    on_many: OnMany = "last",
    partial: bool = False,
    relative_tolerance: float = 0.0,
    absolute_tolerance: float = 0.0,
    time_limit_s: float = 4.0,
    program_memory_mib: int = 512,
) -> Verdict:
    """1 when the program passes the tests of `code.stdio`, run by a service; otherwise 0, or the share of passed tests.

    Args:
        sample: Its gold is a list of at most 100 `{input, output}`, both texts.
        service: Base URL of the service: of SandboxFusion itself, or of E2B's API.
        protocol: The protocol of the service.
        api_key_env: Name of the environment variable that holds the key; empty if the service needs none.
        e2b_template: Name of the sandbox template on E2B.
        e2b_sandbox_url: URL of a sandbox, with `{sandbox}` in place of its id.
        on_many: Whether several programs in the response are rejected or the last one counts.
        partial: Give the share of tests that pass as the score.
        relative_tolerance: Largest relative difference of two numbers that count as equal; with 0, texts are compared.
        absolute_tolerance: Largest absolute difference; with 0, texts are compared.
        time_limit_s: Wall-clock time of each test.
        program_memory_mib: Memory requested from SandboxFusion; on E2B, the template decides.

    Raises:
        httpx.HTTPError, ConnectionError: the service did not answer, or reported a failure of its own; the runtime
        retries.
    """
    tests = stdio_tests(sample.gold)
    if isinstance(tests, str):
        return Verdict(fault=Fault.GOLD, reason=tests)
    found = program_in(sample.response, on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    runner: _Fusion | _E2b
    if protocol == "sandbox_fusion":
        runner = _Fusion(service, _key(api_key_env), time_limit_s, program_memory_mib)
    else:
        runner = _E2b(service, _key(api_key_env), time_limit_s, e2b_template, e2b_sandbox_url)
    passed, reason, tags = 0, "", tuple[str, ...]()
    async with runner:
        for number, test in enumerate(tests, start=1):
            ran = await runner.run(found.text, test.given)
            why = _failure(ran) or output_difference(ran.stdout, test.expected, relative_tolerance, absolute_tolerance)
            passed += not why
            if why and not reason:
                reason, tags = f"test {number}: {why}", ("time",) if ran.timed_out else ()
            if why and not partial:
                break
    return share_verdict(passed, len(tests), reason=reason, tags=tags, partial=partial)


class _Fusion:
    """SandboxFusion, which keeps no state between two runs."""

    def __init__(self, service: str, key: str, time_limit_s: float, memory_mib: int) -> None:
        self._url = f"{service.rstrip('/')}/run_code"
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._time_limit_s = time_limit_s
        self._memory_mib = memory_mib

    async def __aenter__(self) -> _Fusion:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def run(self, program: str, given: str) -> RemoteRun:
        body = {
            "code": program,
            "language": "python",
            "stdin": given,
            "run_timeout": self._time_limit_s,
            "memory_limit_MB": self._memory_mib,
        }
        reply = await _posted(self._url, body, headers=self._headers, timeout_s=self._time_limit_s + OVERHEAD_S)
        answer = _object(_json(reply), self._url)
        result = answer.get("run_result")
        if answer.get("status") not in ("Success", "Failed") or not isinstance(result, dict):
            raise ConnectionError(f"{self._url} failed itself: {answer.get('message')!r:.200}")
        ran = cast("dict[str, Any]", result)
        return RemoteRun(
            timed_out=ran.get("status") == "TimeLimitExceeded",
            exit_code=_exit_code(ran.get("return_code") or 0, self._url),
            stdout=str(ran.get("stdout") or "")[:MOST_OUTPUT],
            stderr=str(ran.get("stderr") or ""),
        )


class _E2b:
    """A sandbox that is created for one sample and deleted after it."""

    def __init__(self, service: str, key: str, time_limit_s: float, template: str, sandbox_url: str) -> None:
        self._sandboxes = f"{service.rstrip('/')}/sandboxes"
        self._headers = {"X-API-Key": key} if key else {}
        self._time_limit_s = time_limit_s
        self._template = template
        self._sandbox_url = sandbox_url
        self._id = ""

    async def __aenter__(self) -> _E2b:
        body = {"templateID": self._template, "timeout": 300}
        reply = await _posted(self._sandboxes, body, headers=self._headers, timeout_s=OVERHEAD_S)
        made = _object(_json(reply), self._sandboxes).get("sandboxID")
        if not isinstance(made, str) or not made:
            raise ConnectionError(f"{self._sandboxes} made no sandbox")
        self._id = made
        return self

    async def __aexit__(self, *_: object) -> None:
        # A sandbox that cannot be deleted ends at its own timeout; the verdict does not depend on it.
        await _client().delete(f"{self._sandboxes}/{self._id}", headers=self._headers, timeout=OVERHEAD_S)

    async def run(self, program: str, given: str) -> RemoteRun:
        nonce = secrets.token_hex(16)
        cell = _E2B_CELL.format(
            program=repr(program), given=repr(given), seconds=self._time_limit_s, most=MOST_OUTPUT, nonce=repr(nonce)
        )
        url = f"{self._sandbox_url.format(sandbox=self._id).rstrip('/')}/execute"
        reply = await _posted(
            url, {"code": cell, "language": "python"}, headers=self._headers, timeout_s=self._time_limit_s + OVERHEAD_S
        )
        try:
            events = [json.loads(line) for line in reply.text.splitlines() if line.strip()]
            printed = "".join(event["text"] for event in events if event.get("type") == "stdout")
            # Without the nonce the cell did not finish; the program, which runs outside the cell, cannot cause this.
            found = json.loads(printed[printed.index(nonce) + len(nonce) :])
            if found is None:
                return RemoteRun(timed_out=True, exit_code=-1, stdout="", stderr="")
            exit_code, stdout, stderr = found
            return RemoteRun(timed_out=False, exit_code=int(exit_code), stdout=str(stdout), stderr=str(stderr))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConnectionError(f"{url} replied without the result of its cell: {reply.text!r:.200}") from error


_CLIENTS: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncClient] = WeakKeyDictionary()
"""Clients by event loop, because a connection belongs to the loop that opened it."""


def _client() -> AsyncClient:
    from httpx import AsyncClient

    from rewards.service_replies import bounded

    loop = asyncio.get_running_loop()
    if loop not in _CLIENTS:
        _CLIENTS[loop] = AsyncClient(**bounded())
    return _CLIENTS[loop]


async def _posted(url: str, body: Mapping[str, Any], *, headers: Mapping[str, str], timeout_s: float) -> Response:
    reply = await _client().post(url, json=dict(body), headers=dict(headers), timeout=timeout_s)
    return reply.raise_for_status()


def _json(reply: Response) -> object:
    try:
        return json.loads(reply.text)
    except (ValueError, RecursionError) as error:
        raise ConnectionError(f"{reply.url} replied with no JSON: {reply.text!r:.200}") from error


def _exit_code(value: object, url: str) -> int:
    if type(value) is not int:
        raise ConnectionError(f"{url} must report the return code as a whole number; found {value!r:.100}")
    return value


def _object(answer: object, url: str) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise ConnectionError(f"{url} replied with something else than an object: {answer!r:.200}")
    return cast("dict[str, Any]", answer)


def _key(variable: str) -> str:
    if not variable:
        return ""
    key = os.environ.get(variable, "")
    if not key:
        raise RewardError(
            f"api_key_env must name an environment variable that holds the key; {variable} is not set where rewards "
            "are scored: set it there, or leave api_key_env empty for a service without keys"
        )
    return key


def _failure(ran: RemoteRun) -> str:
    if ran.timed_out:
        return "out of time"
    if ran.exit_code == 0:
        return ""
    lines = ran.stderr.strip().splitlines()
    return f"exit status {ran.exit_code}: {lines[-1] if lines else ''!s:.100}"
