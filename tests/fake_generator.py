"""The fake generator, and the fake model that it samples from: a formula."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlpost.engine_records import EngineLoad, WeightManifest, WeightReceipt
from rlpost.records import Completion, GenerationRequest, Sampling, VersionSpan

STOP = 1
SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_tokens=6, stop_token_ids=(STOP,))


def fake_logprob(token: int, *, before: int, version: int, temperature: float) -> float:
    """The fake model: what a token's log-probability is after the token before it."""
    return -(1 + (7 * token + 3 * before + 5 * version) % 11) / 10 / temperature


def fake_tokens(*, seed: int, version: int, sampling: Sampling) -> list[int]:
    """What the fake model samples; `version` is that of the weights at the start."""
    rng = np.random.default_rng([seed, version])
    length = int(rng.integers(1, sampling.max_tokens + 1))
    tokens: list[int] = rng.integers(4, 14, length).tolist()
    return [*tokens[:-1], sampling.stop_token_ids[0]] if length < sampling.max_tokens else tokens


@dataclass(frozen=True)
class Running:
    request: GenerationRequest
    ready_at: float
    submitted_at: float
    versions: tuple[int, ...]
    """Of all weights that the engine held while it worked on this; the tokens are shared out among them in order."""


class FakeGenerator:
    """A `Generator` whose answers are a function of prompt, seed and the weights held since submission.

    `latency_s` says when each answer is ready, so answers come out of order; with `manual=True` none is ready before
    `finish`. `fail_at` raises from `poll` once so many answers were given.
    """

    def __init__(
        self,
        *,
        latency_s: Callable[[GenerationRequest], float] = lambda request: 0.0,
        manual: bool = False,
        fail_at: int | None = None,
    ) -> None:
        self.requests: list[GenerationRequest] = []
        self.pulled: list[WeightManifest] = []
        self._latency_s, self._manual, self._fail_at = latency_s, manual, fail_at
        self._running: dict[tuple[str, int], Running] = {}
        self._answered = self._tokens = 0
        self._version = 0
        self._changed = threading.Condition()

    @property
    def version(self) -> int:
        """The weights that it holds; setting it while requests run is an update in flight."""
        return self._version

    @version.setter
    def version(self, version: int) -> None:
        with self._changed:
            self._version = version
            for key, running in self._running.items():
                self._running[key] = replace(running, versions=(*running.versions, version))

    @property
    def running(self) -> list[tuple[str, int]]:
        with self._changed:
            return list(self._running)

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        now = time.monotonic()
        with self._changed:
            for request in requests:
                assert request.key not in self._running, f"{request.key} is in flight already"
                assert len(request.prompt_token_ids) > 0, "a prompt has tokens"
                assert request.prompt_token_ids.dtype == np.int32
                assert 0 <= request.seed < 2**63, "a seed must fit in 63 bits"
                assert request.sampling.max_tokens > 0 and request.sampling.stop_token_ids
                ready_at = float("inf") if self._manual else now + self._latency_s(request)
                self._running[request.key] = Running(request, ready_at, now, (self._version,))
                self.requests.append(request)
            self._changed.notify_all()

    def finish(self, keys: Sequence[tuple[str, int]] | None = None) -> None:
        """Let these answers (or all) be ready now."""
        with self._changed:
            for key in list(self._running) if keys is None else keys:
                self._running[key] = replace(self._running[key], ready_at=0.0)
            self._changed.notify_all()

    def poll(self, timeout_s: float) -> list[Completion]:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                now = time.monotonic()
                ready = [running for running in self._running.values() if running.ready_at <= now]
                if ready or now >= deadline:
                    break
                next_ready = min((running.ready_at for running in self._running.values()), default=deadline)
                self._changed.wait(max(0.0, min(deadline, next_ready) - now))
            for running in ready:
                del self._running[running.request.key]
            self._answered += len(ready)
            if self._fail_at is not None and self._answered >= self._fail_at:
                raise RuntimeError("the engine died")
            # The last submitted comes first, so that nobody can rely on an order.
            return [self._answer(running) for running in reversed(ready)]

    def pull_weights(self, manifest: WeightManifest, *, keep_kv_cache: bool) -> list[WeightReceipt]:
        assert isinstance(keep_kv_cache, bool)
        self.version = manifest.version
        self.pulled.append(manifest)
        return [WeightReceipt(generator="fake", version=manifest.version, checksum=manifest.checksum, seconds=0.01)]

    def abandon(self) -> None:
        with self._changed:
            self._running.clear()

    def loads(self) -> list[EngineLoad]:
        with self._changed:
            return [
                EngineLoad(
                    generator="fake",
                    limit=256,
                    running=len(self._running),
                    waiting=0,
                    kv_cache_use=0.0,
                    preemptions=0,
                    tokens=self._tokens,
                    busy_s=0.001 * self._answered,
                    version=self._version,
                )
            ]

    def _answer(self, running: Running) -> Completion:
        request = running.request
        tokens = fake_tokens(seed=request.seed, version=running.versions[0], sampling=request.sampling)
        length = len(tokens)
        self._tokens += length
        spans = _spans(running.versions, length)
        version_T = [span.version for span in spans for _ in range(span.start, span.stop)]
        before = [int(request.prompt_token_ids[-1]), *tokens[:-1]]
        logprobs = [
            fake_logprob(token, before=last, version=version, temperature=request.sampling.temperature or 1.0)
            for token, last, version in zip(tokens, before, version_T, strict=True)
        ]
        return Completion(
            key=request.key,
            token_ids=np.array(tokens, np.int32),
            logprobs_T=np.array(logprobs, np.float32),
            version_spans=spans,
            finish="stop" if length < request.sampling.max_tokens else "length",
            text="".join(str(token % 10) for token in tokens),
            seconds=max(1e-6, time.monotonic() - running.submitted_at),
        )


def _spans(versions: Sequence[int], length: int) -> tuple[VersionSpan, ...]:
    starts = [-(-length * place // len(versions)) for place in range(len(versions) + 1)]
    return tuple(
        VersionSpan(start=start, stop=stop, version=version)
        for version, start, stop in zip(versions, starts, starts[1:], strict=False)
        if start < stop
    )
