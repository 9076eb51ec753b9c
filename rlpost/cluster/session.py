"""A Ray cluster for the duration of a run: attaches to a running cluster, or starts a private one and ends it."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from rlpost.cluster.failures import LOST
from rlpost.cluster.placement import check_machine
from rlpost.errors import ActorLostError, ClusterError, DeadlineError, RlpostError, UnavailableError
from rlpost.recipe.schema import ClusterConfig
from rlpost.telemetry.waits import WAITS


@contextmanager
def ray_session(cluster: ClusterConfig) -> Generator[None]:
    """Attach to `cluster.address`, or to the cluster of the Ray job that runs this process, or start a private one.

    Raises:
        UnavailableError: the address does not answer.
        RecipeError: this machine has too few devices for a private cluster.
    """
    # Ray 2.60 hides GPUs from actors that ask for none only on request, and warns about this at every start.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray keeps idle workers ready for tasks; a run has no tasks, and each worker wakes a hundred times a second.
    os.environ.setdefault("RAY_num_workers_soft_limit", "0")
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    # The actors' logs stay in Ray's session folder; their errors reach the driver as exceptions.
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        check_machine(cluster)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            ray.init(address=address, **options)
        else:
            ray.init(num_cpus=cluster.cpus, include_dashboard=False, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UnavailableError(
            f"the Ray cluster at {address or 'this machine'} must answer; {error}: start one with `ray start --head`, "
            "or leave address out of the cluster file for a private one"
        ) from error
    # Ray has installed its own handler, which ends a run with a meaningless exit code.
    signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield
    finally:
        ray.shutdown()


def wait_for(who: str, answers: list[Any], *, timeout_s: float) -> list[Any]:
    """Return the answers of open calls, in order.

    Raises:
        DeadlineError: some call was not answered in time.
        ActorLostError: an actor died; the message contains its last error.
        RlpostError: an error that an actor raised for the user, unchanged.
    """
    with WAITS.until(who, timeout_s=timeout_s):
        try:
            return ray.get(answers, timeout=timeout_s)
        except GetTimeoutError as error:
            raise DeadlineError(
                f"{who} must answer within {timeout_s:g} s and did not: look at its log, or raise the "
                "timeout in the cluster file"
            ) from error
        except LOST as error:
            raise ActorLostError(
                f"{who} died: {error}\nThe run stopped; the same command goes on from its last checkpoint."
            ) from error
        except RayTaskError as error:
            if isinstance(error.cause, RlpostError):
                raise error.cause from None
            raise ClusterError(f"{who} failed:\n{error}") from error
        except RayError as error:
            raise ClusterError(f"{who} cannot work: {error}") from error
