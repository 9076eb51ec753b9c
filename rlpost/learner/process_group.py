"""Joining the learner ranks: the environment variables of torchrun, whoever sets them."""

from __future__ import annotations

import os
import random
from datetime import timedelta
from typing import Literal

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from rlpost.errors import ClusterError


def join_process_group(device: Literal["cpu", "cuda"], *, timeout_s: float) -> DeviceMesh:
    """Join the group that RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT describe; gloo on CPU, nccl on CUDA.

    Raises:
        ClusterError: a CUDA learner was asked for where torch sees no CUDA device.
    """
    if device == "cuda":
        if not torch.cuda.is_available():
            raise ClusterError(
                "learner.device is cuda but torch finds no CUDA device: set it to cpu in the cluster file"
            )
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
    return init_device_mesh(device, (dist.get_world_size(),), mesh_dim_names=("shard",))


def fix_randomness(*, seed: int, threads: int, deterministic: bool) -> None:
    """Seed every generator, fix the thread count, and in deterministic mode refuse nondeterministic kernels."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
