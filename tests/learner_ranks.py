"""Run a function on several learner ranks: real processes, joined over gloo on this machine.

The processes are started once and serve every test of the session, because each imports torch and transformers. A
process keeps its rank for life, as it does in a run: torch remembers the place of a process in a mesh of some size.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

MOST_RANKS = 3
TIMEOUT_S = 60.0
"""Of one collective: the other ranks' wait when one has failed."""


def run_on_ranks(function: Callable[..., Any], *arguments: Any, ranks: int) -> Any:
    """Call `function(mesh, *arguments)` on each rank and return rank 0's answer; raises what any rank raised.

    The function must be importable (module level), arguments and answer picklable.
    """
    port = free_port()
    futures = [_process(rank).submit(_as_rank, rank, ranks, port, function, arguments) for rank in range(ranks)]
    errors = [error for future in futures if (error := future.exception(timeout=4 * TIMEOUT_S)) is not None]
    if errors:
        raise errors[0]
    return futures[0].result()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def rank_environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    """What torchrun would set."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


@cache
def _process(rank: int) -> ProcessPoolExecutor:
    assert rank < MOST_RANKS
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def _as_rank(rank: int, ranks: int, port: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    import torch.distributed as dist

    from rlpost.learner.process_group import join_process_group

    os.environ.update(rank_environment(rank, ranks, port))
    mesh = join_process_group("cpu", timeout_s=TIMEOUT_S, store=None)
    try:
        return function(mesh, *arguments)
    finally:
        dist.destroy_process_group()
