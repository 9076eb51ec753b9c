"""A Ray cluster for the duration of a run: attaches to a running cluster, or starts a private one and ends it."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from rlpost.cluster.failures import LOST
from rlpost.cluster.placement import check_machine
from rlpost.errors import ActorLostError, ClusterError, DeadlineError, RlpostError, UnavailableError
from rlpost.recipe.schema import ClusterConfig
from rlpost.telemetry.waits import WAITS

_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
"""The actors' logs stay in Ray's session folder; their errors reach the driver as exceptions."""
CONNECT_TIMEOUT_S = 10.0
"""Longest wait until the head of a cluster accepts a connection; Ray itself tries for minutes and then ends the run."""


@contextmanager
def ray_session(cluster: ClusterConfig) -> Generator[None]:
    """Attach to `cluster.address`, or to the cluster of the Ray job that runs this process, or start a private one.

    A private cluster listens on loopback alone. It is started beside any other cluster of this machine, which it never
    joins.

    Raises:
        UnavailableError: the address does not answer, or Ray's folder for temporary files has too long a path.
        RecipeError: this machine has too few devices for a private cluster.
    """
    # Ray 2.60 hides GPUs from actors that ask for none only on request, and warns about this at every start.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray keeps idle workers ready for tasks; a run has no tasks, and each worker wakes a hundred times a second.
    os.environ.setdefault("RAY_num_workers_soft_limit", "0")
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    on_sigterm = signal.getsignal(signal.SIGTERM)
    if address and address != "local":
        _attach(address)
    else:
        check_machine(cluster)
        _start_private(cluster)
    # Ray has installed its own handler, which ends a run with a meaningless exit code.
    signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield
    finally:
        ray.shutdown()


def _attach(address: str) -> None:
    try:
        _check_answers(address)
        ray.init(address=address, **_QUIET)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnavailableError(
            f"the Ray cluster at {address} must answer; {error}: start one with `ray start --head`, or unset "
            "RAY_ADDRESS and leave address out of the cluster file for a private one"
        ) from error


def _check_answers(address: str) -> None:
    """Connect to the head once, if the address names one.

    Raises:
        OSError: nothing accepts connections there.
    """
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()


def _start_private(cluster: ClusterConfig) -> None:
    try:
        # Without "local", Ray would join any cluster of this machine that it finds in its folder for temporary files.
        with _on_loopback():
            ray.init(address="local", num_cpus=cluster.cpus, include_dashboard=False, **_QUIET)
    except (OSError, RuntimeError, ValueError) as error:
        hint = ": set RAY_TMPDIR to a folder with a short path, such as /tmp" if "AF_UNIX" in str(error) else ""
        raise UnavailableError(f"Ray must start on this machine; {error}{hint}") from error


@contextmanager
def _on_loopback() -> Generator[None]:
    """Have the processes of a new cluster listen on loopback alone.

    Ray replaces a loopback address that it is given by one that other machines reach, unless this switch is off. Ray
    reads the variable when it is imported, and its own processes read it when they start.
    """
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before[1]
        os.environ.pop(name)
        if before[0] is not None:
            os.environ[name] = before[0]


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
