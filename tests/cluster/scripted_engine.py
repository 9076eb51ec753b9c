"""Engines without a model, in real Ray actors: each checks what it is given and answers from seeds and a clock."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlpost.cluster.generator_actor import GeneratorActor
from rlpost.engine_records import EngineLoad, WeightManifest, WeightReceipt
from rlpost.errors import DataError
from rlpost.records import Completion, GenerationRequest, Sampling, VersionSpan

ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parent)}
"""Lets an actor's process import this file."""
SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_tokens=8, stop_token_ids=(1,))


def a_group(index: int, *, samples: int = 4) -> list[GenerationRequest]:
    """The requests of one prompt, keyed as the collector keys them."""
    return [
        GenerationRequest(
            key=(f"{index}:sums/{index % 7}", sample),
            prompt_token_ids=np.array([2 + index % 5, 3], np.int32),
            sampling=SAMPLING,
            seed=1000 * index + sample,
        )
        for sample in range(samples)
    ]


def tokens_of(seed: int) -> list[int]:
    """The answer to a request, whichever engine gives it."""
    rng = np.random.default_rng(seed)
    return rng.integers(4, 100, int(rng.integers(1, 9))).tolist()


def a_manifest(version: int) -> WeightManifest:
    return WeightManifest(version=version, path="/none", checksum=f"sum-{version}", tensor_count=1, byte_count=1)


class ScriptedGenerator:
    """Works on `limit` requests at a time, each for `seconds[name]` (0 where it is not named).

    A rollout's text is the engine's name, so that tests see who answered. `start_s` and `pull_s` say how long it takes
    to start and to pull weights; `refuse` is a prompt that it does not take; while the file `dies_at_start` exists, its
    process ends at its start.
    """

    def __init__(
        self,
        *,
        name: str,
        limit: int,
        seconds: Mapping[str, float],
        start_s: float = 0.0,
        pull_s: Mapping[str, float] | None = None,
        refuse: str = "",
        dies_at_start: Path | None = None,
        memory_ends: Path | None = None,
        bug: bool = False,
        hangs: bool = False,
    ) -> None:
        time.sleep(start_s)
        if dies_at_start is not None and dies_at_start.exists():
            os._exit(1)
        self._name, self._limit, self._seconds = name, limit, seconds.get(name, 0.0)
        self._pull_s, self._refuse = (pull_s or {}).get(name, 0.0), refuse
        self._memory_ends, self._bug, self._hangs = memory_ends, bug, hangs
        self._version = 0
        self._waiting: list[GenerationRequest] = []
        self._running: dict[tuple[str, int], tuple[GenerationRequest, float]] = {}
        self._tokens = 0
        self._changed = threading.Condition()

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        with self._changed:
            for request in requests:
                if request.key[0] == self._refuse:
                    raise DataError(f"prompt {request.key[0]} is refused")
                assert request.key not in self._running, f"{request.key} is running already"
                assert request.key not in {waiting.key for waiting in self._waiting}, f"{request.key} waits already"
                assert request.prompt_token_ids.dtype == np.int32 and len(request.prompt_token_ids) > 0
                self._waiting.append(request)
            self._fill()
            self._changed.notify_all()

    def poll(self, timeout_s: float) -> list[Completion]:
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while not (done := self._done()) and (left_s := deadline_s - time.monotonic()) > 0:
                ends = [end_s for _, end_s in self._running.values()]
                self._changed.wait(max(0.0, min([left_s, *(end_s - time.monotonic() for end_s in ends)])))
            if done:
                self._fail_as_told()
            for rollout in done:
                del self._running[rollout.key]
            self._fill()
            return done

    def _fail_as_told(self) -> None:
        if self._memory_ends is not None and self._is_first_to_end():
            raise MemoryError("12 GiB")
        if self._bug:
            raise KeyError("loss")
        if self._hangs:
            self.hang_in_a_forward_pass()

    def _is_first_to_end(self) -> bool:
        """Of the engines that look at the same file."""
        assert self._memory_ends is not None
        try:
            self._memory_ends.unlink()
        except FileNotFoundError:
            return False
        return True

    def hang_in_a_forward_pass(self) -> None:
        time.sleep(600)

    def pull_weights(self, manifest: WeightManifest, *, keep_kv_cache: bool) -> list[WeightReceipt]:
        assert manifest.version > self._version, f"{self._name} holds {self._version}, was sent {manifest.version}"
        time.sleep(self._pull_s)
        with self._changed:
            self._version = manifest.version
        return [WeightReceipt(generator=self._name, version=manifest.version, checksum=manifest.checksum, seconds=0.01)]

    def loads(self) -> list[EngineLoad]:
        with self._changed:
            return [
                EngineLoad(
                    generator=self._name,
                    limit=self._limit,
                    running=len(self._running),
                    waiting=len(self._waiting),
                    kv_cache_use=min(1.0, len(self._running) / self._limit),
                    preemptions=0,
                    tokens=self._tokens,
                    busy_s=0.0,
                    version=self._version,
                )
            ]

    def abandon(self) -> None:
        with self._changed:
            self._waiting.clear()
            self._running.clear()

    def close(self) -> None:
        with self._changed:
            self._waiting.clear()
            self._running.clear()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._limit:
            request = self._waiting.pop(0)
            self._running[request.key] = (request, time.monotonic() + self._seconds)

    def _done(self) -> list[Completion]:
        now_s = time.monotonic()
        return [self._answer(request) for request, end_s in self._running.values() if end_s <= now_s]

    def _answer(self, request: GenerationRequest) -> Completion:
        token_ids = np.array(tokens_of(request.seed), np.int32)
        self._tokens += len(token_ids)
        return Completion(
            key=request.key,
            token_ids=token_ids,
            logprobs_T=np.full(len(token_ids), -0.5, np.float32),
            version_spans=(VersionSpan(start=0, stop=len(token_ids), version=self._version),),
            finish="stop",
            text=self._name,
            seconds=0.01,
        )


class ScriptedActor(GeneratorActor):
    """The real actor around a scripted engine."""

    def _build(self, settings: Any, name: str) -> ScriptedGenerator:
        return ScriptedGenerator(**settings, name=name)

    def pid(self) -> int:
        """For tests that end or stop the process."""
        return os.getpid()
