"""A group of one rank inside the test process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from learner_ranks import TIMEOUT_S, free_port, rank_environment
from torch.distributed.device_mesh import DeviceMesh

from rlpost.learner.process_group import join_process_group


@pytest.fixture(scope="module")
def mesh() -> Iterator[DeviceMesh]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in rank_environment(0, 1, free_port()).items():
            patch.setenv(name, value)
        yield join_process_group("cpu", timeout_s=TIMEOUT_S, store=None)
    dist.destroy_process_group()
    # Building a learner in deterministic mode sets it for the whole process.
    torch.use_deterministic_algorithms(False)
