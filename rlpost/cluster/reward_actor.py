"""A Ray actor that runs verifiers, to check that they give the same verdicts there as in this process."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from rlpost.cluster.session import ray_session, wait_for
from rlpost.recipe.schema import ClusterConfig
from rlpost.records import Sample, Verdict
from rlpost.scoring.authoring import Verifier
from rlpost.scoring.registry import load_verifier
from rlpost.workbench.self_test import Elsewhere
from rlpost.workbench.verifier_runner import VerifierRunner

ANSWER_TIMEOUT_S = 120.0


class RewardActor:
    """Runs any verifier that it is asked for, and keeps the verifier's workers until it ends."""

    def __init__(self) -> None:
        self._judges: dict[str, VerifierRunner] = {}

    def judge(self, reference: str, samples: Sequence[Sample], params: Mapping[str, Any]) -> list[Verdict]:
        """Return one verdict per sample."""
        if reference not in self._judges:
            self._judges[reference] = VerifierRunner(load_verifier(reference), workers=1)
        return self._judges[reference](samples, params=params)

    def close(self) -> None:
        """End the workers."""
        for judge in self._judges.values():
            judge.close()


@contextmanager
def reward_actor() -> Generator[Elsewhere]:
    """Provide a function that judges in an actor of a private Ray cluster, during a with-block."""
    with ray_session(ClusterConfig(name="reward-test")):
        actor: Any = ray.remote(num_cpus=1)(RewardActor).remote()

        def judge(verifier: Verifier, samples: Sequence[Sample], params: Mapping[str, Any]) -> list[Verdict]:
            answer = actor.judge.remote(verifier.reference, list(samples), dict(params))
            return wait_for("the actor that judges", [answer], timeout_s=ANSWER_TIMEOUT_S)[0]

        try:
            yield judge
        finally:
            wait_for("the actor that judges", [actor.close.remote()], timeout_s=ANSWER_TIMEOUT_S)
