"""Joins the learner ranks, by the environment variables of torchrun, whoever sets them."""

from __future__ import annotations

import os
import random
import socket
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage] - torch documents it
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from rlpost.errors import ClusterError
from rlpost.platform.idle_threads import rarely_waking

MeetingPlace = TCPStore


def meeting_place(
    address: tuple[str, int], *, ranks: int, listener: socket.socket | None, timeout_s: float
) -> MeetingPlace:
    """Create the store where the ranks meet, on a socket of rank 0: torch's own would listen on every network
    interface.
    """
    descriptor = None if listener is None else listener.detach()
    return MeetingPlace(
        *address,
        world_size=ranks,
        is_master=listener is not None,
        timeout=timedelta(seconds=timeout_s),
        master_listen_fd=descriptor,
    )


def join_process_group(device: Literal["cpu", "cuda"], *, timeout_s: float, store: MeetingPlace | None) -> DeviceMesh:
    """Join the group that RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT describe, by gloo on CPU and nccl on CUDA.

    Args:
        device: Device of this rank.
        timeout_s: Timeout of one collective.
        store: The store where the ranks meet, instead of MASTER_ADDR and MASTER_PORT.

    Raises:
        ClusterError: the learner should run on CUDA, but torch sees no CUDA device.
    """
    if device == "cuda":
        if not torch.cuda.is_available():
            raise ClusterError(
                "learner.device is cuda but torch finds no CUDA device: set it to cpu in the cluster file"
            )
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    with rarely_waking():
        if not dist.is_initialized():
            backend = "nccl" if device == "cuda" else "gloo"
            timeout, place = timedelta(seconds=timeout_s), {} if store is None else _place_of(store)
            dist.init_process_group(backend, timeout=timeout, **place)
        return init_device_mesh(device, (dist.get_world_size(),), mesh_dim_names=("shard",))


def _place_of(store: MeetingPlace) -> dict[str, Any]:
    return {"store": store, "rank": int(os.environ["RANK"]), "world_size": int(os.environ["WORLD_SIZE"])}


def fix_randomness(*, seed: int, threads: int, deterministic: bool) -> None:
    """Seed every random generator, set the thread count, and in deterministic mode refuse nondeterministic kernels."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def step_seed(seed: int, step: int) -> int:
    """Return the seed of one optimizer step, which torch takes however large the stage's own seed is."""
    return (seed * 1_000_003 + step) % 2**63
