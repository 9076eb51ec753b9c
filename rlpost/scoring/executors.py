"""Runs verifiers of every isolation: in this process, in worker processes, or on the event loop of remote calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Verifier
from rlpost.scoring.calls import blame, calls_of, follow
from rlpost.scoring.guarded import call_guarded
from rlpost.scoring.remote import PATIENCE, Patience, RemoteCalls
from rlpost.scoring.workers import WorkerPool


class Executors:
    """Runs the verifiers of a scorer. Thread-safe; close it only when no `judge` is running.

    Args:
        verifiers: The verifiers that may be asked.
        workers: Number of processes for each verifier that runs in processes; they start when first needed.
        patience: How often and how long a failing service is tried.
    """

    def __init__(self, verifiers: Iterable[Verifier], *, workers: int, patience: Patience = PATIENCE) -> None:
        self._pools: dict[str, WorkerPool] = {}
        self._remote = RemoteCalls(patience)
        for verifier in verifiers:
            if verifier.spec.isolation in ("process", "sandbox") and verifier.reference not in self._pools:
                self._pools[verifier.reference] = WorkerPool(verifier, workers=workers)

    def judge(
        self, verifier: Verifier, samples: Sequence[Sample], *, params: Mapping[str, Any], timeout_s: float
    ) -> list[Verdict]:
        """Return one verdict per sample, in the same order; an infra fault is returned only after it has been retried.

        Raises:
            RewardError: the verifier broke its contract.
        """
        if not samples:
            return []
        if verifier.spec.isolation == "remote":
            return self._remote.judge(verifier, samples, params=params, timeout_s=timeout_s)
        verdicts = self._judge_here(verifier, samples, params=params, timeout_s=timeout_s)
        failed = {place for place, verdict in enumerate(verdicts) if verdict.fault is Fault.INFRA}
        # A group is judged as a whole or not at all.
        calls = calls_of(verifier.spec, samples, most=1) if failed else []
        again = [place for places in calls if failed & set(places) for place in places]
        retried = self._judge_here(verifier, [samples[place] for place in again], params=params, timeout_s=timeout_s)
        for place, verdict in zip(again, retried, strict=True):
            verdicts[place] = verdict
        return verdicts

    def close(self) -> None:
        """End all processes and calls."""
        for pool in self._pools.values():
            pool.close()
        self._remote.close()

    def _judge_here(
        self, verifier: Verifier, samples: Sequence[Sample], *, params: Mapping[str, Any], timeout_s: float
    ) -> list[Verdict]:
        pool = self._pools.get(verifier.reference)
        if pool is not None and samples:
            return pool.judge(samples, params=params, timeout_s=timeout_s)
        judged: dict[int, Verdict] = {}
        call = partial(call_guarded, verifier, params=params)
        for places in calls_of(verifier.spec, samples, most=verifier.spec.largest_batch):
            verdicts = follow(blame(verifier.spec, [samples[place] for place in places]), call)
            judged.update(zip(places, verdicts, strict=True))
        return [judged[place] for place in range(len(samples))]
