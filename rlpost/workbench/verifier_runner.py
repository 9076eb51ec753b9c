"""Runs one verifier outside a run, for the `rlpost reward` commands: without routes and cache."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rlpost.errors import RewardError
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, Verifier, case_failure
from rlpost.scoring.executors import Executors
from rlpost.scoring.remote import Patience

_NOT_ITS_FAULT = re.compile(rf"fails its own case: .*{re.escape(repr(Fault.INFRA))}", re.DOTALL)
"""The message of a worker that could not judge its first case because a service or a tool was missing."""


PATIENCE = Patience(attempts=2, first_wait_s=0.5, longest_wait_s=1.0, give_up_after_s=20.0)
"""Retries for failing services; they are few, because a person is waiting and can simply try again."""


class VerifierRunner:
    """Judges like a run, but without routes and cache. Use it in a with-block.

    Args:
        verifier: The verifier that judges.
        workers: Number of processes, if the verifier runs in processes.
    """

    def __init__(self, verifier: Verifier, *, workers: int) -> None:
        self.verifier = verifier
        self._executors = Executors([verifier], workers=workers, patience=PATIENCE)

    def __enter__(self) -> VerifierRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, samples: Sequence[Sample], *, params: Mapping[str, Any]) -> list[Verdict]:
        """Return one verdict per sample, in the same order; `params` must have been checked.

        Raises:
            RewardError: the verifier broke its contract.
        """
        return self._executors.judge(self.verifier, samples, params=params, timeout_s=self.verifier.spec.timeout_s)

    def close(self) -> None:
        """End the workers and the calls."""
        self._executors.close()

    def case(self, case: Case) -> Verdict:
        """Judge a case, with the case's parameters."""
        return self([case.sample()], params=self.verifier.validated(case.params))[0]


def why_it_is_not_set_up(verifier: Verifier) -> str | None:
    """Say which parameters a verifier of a service lacks, such as an endpoint; None if its first case has all of them.

    Raises:
        RewardError: the verifier needs no service, and a case has parameters that do not fit.
    """
    try:
        for case in verifier.cases[:1]:
            verifier.validated(case.params)
    except RewardError as error:
        if verifier.spec.isolation != "remote":
            raise
        return f"it needs a service: give --params; {error}"
    return None


def why_it_is_not_served(judge: VerifierRunner) -> str | None:
    """Say why the verifier cannot judge its first accepted case here, if a missing service, tool or sandbox is the
    cause. None if it judges the case, rightly or wrongly.
    """
    case = next((case for case in judge.verifier.cases if case.expect == "accept"), None)
    if case is None:
        return None
    verdict = judge.case(case)
    if verdict.fault is not Fault.INFRA or case_failure(judge.verifier, case, verdict=verdict) is None:
        return None
    its_own = any(words in verdict.reason for words in ("did not start", "cannot import what it needs"))
    return None if its_own and not _NOT_ITS_FAULT.search(verdict.reason) else verdict.reason
