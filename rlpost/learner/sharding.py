"""FSDP2: shards a model, and gathers whole tensors."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from rlpost.errors import ModelError


def shard_model(model: nn.Module, mesh: DeviceMesh, *, compute_dtype: Literal["float32", "bfloat16"]) -> None:
    """Shard each decoder layer and then the rest of the model; gradients are reduced in float32."""
    policy = MixedPrecisionPolicy(param_dtype=getattr(torch, compute_dtype), reduce_dtype=torch.float32)
    options: dict[str, Any] = {"mesh": mesh, "mp_policy": policy}
    for layer in decoder_layers(model):
        fully_shard(layer, **options)
    fully_shard(model, **options)


def reshard(model: nn.Module) -> None:
    """Free gathered weights, which FSDP keeps after a forward pass that no backward pass follows.

    They would become stale if anything but an optimizer step changed the shards.
    """
    cast(Any, model).reshard()


def decoder_layers(model: nn.Module) -> list[nn.Module]:
    """Return the repeated blocks, which are sharded one by one: the longest list of modules.

    Raises:
        ModelError: the model has no list of modules.
    """
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) > 0]
    if not lists:
        raise ModelError("the model must have a list of decoder layers to shard; found none")
    return list(max(lists, key=lambda modules: sum(p.numel() for p in modules.parameters())))


def gathered(tensor: Tensor) -> Tensor:
    """Return the whole of a sharded tensor, which is a collective; return any other tensor as it is."""
    full = getattr(tensor, "full_tensor", None)
    return (full() if full is not None else tensor).detach()
