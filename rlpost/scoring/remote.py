"""Verifiers that wait for a service: many concurrent calls on one event loop, each with a deadline.

A service that does not answer says nothing about the response. A call that passes its deadline or fails in transport is
therefore repeated after a growing random delay, and in the end becomes an infra fault. The number of attempts and the
time without any success are both bounded: once a service has answered nothing for long enough, the remaining samples
are not sent to it.
"""

from __future__ import annotations

import asyncio
import http.client
import random
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from typing import Any, cast

from rlpost.errors import RewardError
from rlpost.recipe.environment import hidden, read_variable
from rlpost.records import Fault, Mark, Sample, Verdict
from rlpost.scoring.authoring import Verifier
from rlpost.scoring.calls import Answer, blame, calls_of
from rlpost.scoring.guarded import stamped, verdict_of

CLOSE_TIMEOUT_S = 5.0
_TRANSPORT_LIBRARIES = {
    "aiohttp", "anyio", "grpc", "httpcore", "httpcore2", "httpx", "httpx2", "openai", "requests", "urllib3",
    "websockets",
}  # fmt: skip
"""Libraries whose exceptions report a failed connection to a service. Looked up by name, so that none has to be
installed."""
_RETRIED_STATUS = {408, 409, 425, 429}
"""HTTP statuses below 500 after which a later attempt may succeed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How often and how long a failing service is tried."""

    attempts: int
    """Most calls for one sample, including the first."""
    first_wait_s: float
    """Upper bound of the delay before the second attempt; it doubles with each further attempt."""
    longest_wait_s: float
    give_up_after_s: float
    """Time without a single success after which the remaining samples are not sent any more."""


PATIENCE = Patience(attempts=6, first_wait_s=0.5, longest_wait_s=8.0, give_up_after_s=60.0)


class RemoteCalls:
    """The event loop of a scorer, in its own thread, which starts with the first call. Thread-safe.

    At most `largest_batch` calls of one verifier run at the same time.
    """

    def __init__(self, patience: Patience = PATIENCE) -> None:
        self._patience = patience
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._seats: dict[str, asyncio.Semaphore] = {}

    def judge(
        self, verifier: Verifier, samples: Sequence[Sample], *, params: Mapping[str, Any], timeout_s: float
    ) -> list[Verdict]:
        """Return one verdict per sample, in the same order, once all calls are done.

        Raises:
            RewardError: the verifier broke its contract.
            CancelledError: `close` was called in the meantime.
        """
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="remote-scoring", daemon=True)
                self._thread.start()
            call = _Call(verifier, params=dict(params), timeout_s=timeout_s, patience=self._patience)
            future = asyncio.run_coroutine_threadsafe(self._judge(call, samples), self._loop)
        # Every attempt has a deadline, and the number of attempts is bounded.
        return future.result()

    def close(self) -> None:
        """End the loop and all calls on it."""
        if self._loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop)
        self._thread.join(CLOSE_TIMEOUT_S)
        if not self._thread.is_alive():
            self._loop.close()
        self._loop, self._thread, self._seats = None, None, {}

    async def _judge(self, call: _Call, samples: Sequence[Sample]) -> list[Verdict]:
        spec = call.verifier.spec
        seats = self._seats.setdefault(call.verifier.reference, asyncio.Semaphore(spec.largest_batch))
        places = calls_of(spec, samples, most=spec.largest_batch)
        tasks = [asyncio.ensure_future(call.judge([samples[place] for place in some], seats)) for some in places]
        try:
            answers = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()  # has no effect on tasks that are done
        judged = {
            place: one
            for some, several in zip(places, answers, strict=True)
            for place, one in zip(some, several, strict=True)
        }
        return [judged[place] for place in range(len(samples))]


class _Call:
    """One `judge` of one verifier, with the state that its samples share: when the service last succeeded or failed."""

    def __init__(self, verifier: Verifier, *, params: dict[str, Any], timeout_s: float, patience: Patience) -> None:
        self.verifier = verifier
        self._params, self._timeout_s, self._patience = params, timeout_s, patience
        for name, value in params.items():
            if name.endswith("_env") and isinstance(value, str):
                read_variable(value)  # a service may echo the key, which is then hidden in its verdicts
        self._last_success = time.monotonic()
        self._last_failure = ""

    async def judge(self, samples: Sequence[Sample], seats: asyncio.Semaphore) -> list[Verdict]:
        """Judge samples that belong in one call."""
        plan = blame(self.verifier.spec, samples)
        asked = next(plan)
        while True:
            try:
                asked = plan.send(await self._patiently(asked, seats))
            except StopIteration as done:
                verdicts: list[Verdict] = done.value
                return verdicts

    async def _patiently(self, samples: Sequence[Sample], seats: asyncio.Semaphore) -> Answer:
        started = time.perf_counter()
        answer: Answer = self._infra(f"not asked: {self._last_failure}")
        for attempt in range(1, self._patience.attempts + 1):
            async with seats:
                if self._is_hopeless():
                    return answer if attempt > 1 else self._infra(f"not asked: {self._last_failure}")
                answer, may_retry = await self._attempt(samples)
            if not may_retry:
                break
            assert isinstance(answer, Verdict)
            self._last_failure = answer.reason
            if attempt < self._patience.attempts and not self._is_hopeless():
                longest_s = min(self._patience.longest_wait_s, self._patience.first_wait_s * 2 ** (attempt - 1))
                # Random, so that calls that failed together are not repeated together.
                await asyncio.sleep(random.uniform(0.5, 1.0) * longest_s)
        milliseconds = (time.perf_counter() - started) * 1000 / len(samples)
        return _without_secrets(stamped(answer, self.verifier, milliseconds=milliseconds))

    async def _attempt(self, samples: Sequence[Sample]) -> tuple[Answer, bool]:
        """Make one call; return its answer, and whether another attempt may give a different one."""
        name = self.verifier.spec.name
        try:
            verdicts = await asyncio.wait_for(
                self.verifier.judge_together_async(samples, params=self._params), self._timeout_s
            )
        except RewardError:
            raise
        except TimeoutError:
            reason = f"{name} got no answer within {self._timeout_s:g} s"
            return Verdict(fault=Fault.INFRA, reason=reason), True
        except Exception as error:
            if not is_transport_failure(error):
                return verdict_of(error, self.verifier), False
            reason = f"{name} did not reach its service: {type(error).__name__}: {error!s:.300}"
            may_pass = _may_pass(error)
            return Verdict(fault=Fault.INFRA, reason=reason, marks=() if may_pass else (Mark.PERMANENT,)), may_pass
        self._last_success = time.monotonic()
        return verdicts, False

    def _is_hopeless(self) -> bool:
        return time.monotonic() - self._last_success > self._patience.give_up_after_s and bool(self._last_failure)

    def _infra(self, reason: str) -> Verdict:
        return Verdict(fault=Fault.INFRA, reason=reason, version=self.verifier.spec.stamp)


def _without_secrets(answer: Answer) -> Answer:
    """Hide values of the environment in the texts of verdicts."""
    if isinstance(answer, Verdict):
        parsed = None if answer.parsed is None else hidden(answer.parsed)
        return replace(answer, reason=hidden(answer.reason), parsed=parsed, tags=tuple(map(hidden, answer.tags)))
    return [cast("Verdict", _without_secrets(verdict)) for verdict in answer]


def is_transport_failure(error: Exception) -> bool:
    """Whether an exception reports a failed connection or a failing service, and nothing about the response."""
    if isinstance(error, OSError | EOFError | TimeoutError | http.client.HTTPException):
        return True
    return any(kind.__module__.partition(".")[0] in _TRANSPORT_LIBRARIES for kind in type(error).__mro__)


def _may_pass(error: Exception) -> bool:
    """Whether the same call may succeed later; a service that rejects a key or a request will reject it again."""
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None) or getattr(error, "code", 0)
    return not (isinstance(status, int) and 400 <= status < 500 and status not in _RETRIED_STATUS)


async def _cancel_all() -> None:
    loop = asyncio.get_running_loop()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    loop.call_soon(loop.stop)


__all__ = ["PATIENCE", "CancelledError", "Patience", "RemoteCalls", "is_transport_failure"]
