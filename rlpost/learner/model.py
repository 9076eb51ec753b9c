"""The models of a learner: policy or reward model, reference and critic, each sharded by FSDP2."""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from transformers import PreTrainedModel

from rlpost.errors import RecipeError
from rlpost.learner.adapter import with_adapter
from rlpost.learner.dropout import without_dropout
from rlpost.learner.forward import register_forward_methods
from rlpost.learner.loading import load_language_model, load_scorer
from rlpost.learner.sharding import reshard, shard_model
from rlpost.settings import LearnerSettings


def build_policy(settings: LearnerSettings, mesh: DeviceMesh) -> nn.Module:
    """Build the model to train: sharded float32 master weights that compute in `compute_dtype`.

    Raises:
        RecipeError: the stage asks for a reward model with an adapter.
    """
    if settings.head == "language_model":
        model = load_language_model(settings.model_dir, trust_remote_code=settings.trust_remote_code)
    elif settings.lora is None:
        model = load_scorer(settings.model_dir, trust_remote_code=settings.trust_remote_code)
    else:
        raise RecipeError("a reward model is trained whole, and its stage asks for an adapter: remove lora from it")
    return _to_train(model, settings, mesh)


def build_critic(settings: LearnerSettings, mesh: DeviceMesh) -> nn.Module:
    """Build the value model, which never has an adapter."""
    assert settings.critic is not None, "a critic needs its settings"
    model = load_scorer(settings.critic.model_dir, trust_remote_code=settings.trust_remote_code)
    return _to_train(model, settings, mesh, adapter=False)


def build_frozen(settings: LearnerSettings, mesh: DeviceMesh, *, model_dir: str) -> nn.Module:
    """Build a language model that is never trained: the reference, or a teacher."""
    model = load_language_model(model_dir, trust_remote_code=settings.trust_remote_code)
    model.requires_grad_(False)
    return _sharded(model, model, settings, mesh).eval()


@torch.no_grad()
def mix_into(reference: nn.Module, policy: nn.Module, *, mix: float) -> None:
    """Set `reference = (1 - mix) * reference + mix * policy` on each rank's shards; both models are sharded alike."""
    for model in (reference, policy):
        reshard(model)
    for frozen, current in zip(reference.parameters(), policy.parameters(), strict=True):
        frozen.lerp_(current, mix)


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that the optimizer updates."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _to_train(
    model: PreTrainedModel, settings: LearnerSettings, mesh: DeviceMesh, *, adapter: bool = True
) -> nn.Module:
    if not settings.dropout:
        without_dropout(model)
    if settings.learner.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    root = with_adapter(model, settings.lora) if adapter and settings.lora is not None else model
    return _sharded(root, model, settings, mesh).train()


def _sharded(root: nn.Module, model: PreTrainedModel, settings: LearnerSettings, mesh: DeviceMesh) -> nn.Module:
    shard_model(root, mesh, compute_dtype=settings.compute_dtype)
    register_forward_methods(root, model, torch.device(settings.device))
    reshard(root)
    return root
