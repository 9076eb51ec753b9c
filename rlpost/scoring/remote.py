"""Verifiers that wait for a service: many calls side by side on one event loop, each under a deadline.

That a service does not answer says nothing about the response: a call that passes its deadline or fails in transport is
made again after a growing, random wait, and is an infra fault at last. Both the number of attempts and the time without
any success are bounded; once a service has answered nothing for long enough, the samples still waiting are not asked.
"""

from __future__ import annotations

import asyncio
import http.client
import random
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from rlpost.errors import RewardError
from rlpost.records import PERMANENT, Fault, Sample, Verdict
from rlpost.scoring.authoring import Verifier
from rlpost.scoring.calls import Answer, blame, calls_of
from rlpost.scoring.guarded import stamped, verdict_of

CLOSE_TIMEOUT_S = 5.0
_TRANSPORT_LIBRARIES = {"aiohttp", "anyio", "grpc", "httpcore", "httpx", "openai", "requests", "urllib3", "websockets"}
"""Whose exceptions speak of the way to a service. Looked up by name, so that none has to be installed."""
_RETRIED_STATUS = {408, 409, 425, 429}
"""HTTP statuses below 500 that pass by themselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a service that fails is tried."""

    attempts: int
    """Most calls for one sample, the first included."""
    first_wait_s: float
    """Longest wait before the second attempt; it doubles with each further one."""
    longest_wait_s: float
    give_up_after_s: float
    """Without a single success for so long, what still waits is not asked any more."""


PATIENCE = Patience(attempts=6, first_wait_s=0.5, longest_wait_s=8.0, give_up_after_s=60.0)


class RemoteCalls:
    """The event loop of a scorer, in a thread of its own that starts with the first call. Safe from several threads.

    At most `largest_batch` calls of a verifier run at a time.
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
        """One verdict a sample, in the same order; waits for all of them.

        Raises:
            RewardError: the verifier broke its contract.
            CancelledError: `close` was called meanwhile.
        """
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="remote-scoring", daemon=True)
                self._thread.start()
            call = _Call(verifier, params=dict(params), timeout_s=timeout_s, patience=self._patience)
            future = asyncio.run_coroutine_threadsafe(self._judge(call, samples), self._loop)
        # Every attempt inside has its deadline, and their number is bounded.
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
                task.cancel()  # no effect on those that are done
        judged = {
            place: one
            for some, several in zip(places, answers, strict=True)
            for place, one in zip(some, several, strict=True)
        }
        return [judged[place] for place in range(len(samples))]


class _Call:
    """One `judge` of one verifier: what all its samples share, which is the service's record so far."""

    def __init__(self, verifier: Verifier, *, params: dict[str, Any], timeout_s: float, patience: Patience) -> None:
        self.verifier = verifier
        self._params, self._timeout_s, self._patience = params, timeout_s, patience
        self._last_success = time.monotonic()
        self._last_failure = ""

    async def judge(self, samples: Sequence[Sample], seats: asyncio.Semaphore) -> list[Verdict]:
        """The verdicts of samples that belong into one call."""
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
                # Random, so that what failed together does not come back together.
                await asyncio.sleep(random.uniform(0.5, 1.0) * longest_s)
        milliseconds = (time.perf_counter() - started) * 1000 / len(samples)
        return stamped(answer, self.verifier, milliseconds=milliseconds)

    async def _attempt(self, samples: Sequence[Sample]) -> tuple[Answer, bool]:
        """What one call gave, and whether another might give something else."""
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
            return Verdict(fault=Fault.INFRA, reason=reason, tags=() if may_pass else (PERMANENT,)), may_pass
        self._last_success = time.monotonic()
        return verdicts, False

    def _is_hopeless(self) -> bool:
        return time.monotonic() - self._last_success > self._patience.give_up_after_s and bool(self._last_failure)

    def _infra(self, reason: str) -> Verdict:
        return Verdict(fault=Fault.INFRA, reason=reason, version=self.verifier.spec.stamp)


def is_transport_failure(error: Exception) -> bool:
    """Whether an exception speaks of the way to a service, or of the service, and not of the response."""
    if isinstance(error, OSError | EOFError | TimeoutError | http.client.HTTPException):
        return True
    return any(kind.__module__.partition(".")[0] in _TRANSPORT_LIBRARIES for kind in type(error).__mro__)


def _may_pass(error: Exception) -> bool:
    """Whether the same call may succeed later; a service that refuses a key or a request refuses it again."""
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
