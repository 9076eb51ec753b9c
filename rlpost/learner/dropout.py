"""Switches off everything random that a model's config adds in training: dropout, and noise on a router's input.

Such noise is active in training and nowhere else. Some losses compare the log-probabilities of a training pass with
those of an engine, of a reference model or of an earlier pass; they would take the noise for a change of the policy.
"""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedConfig

_NOISE = ("drop", "jitter")
"""Parts of the names under which models keep rates of dropout and of router noise, in modules and in configs."""
_DROPOUT_MODULES = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def without_dropout(model: nn.Module) -> None:
    """Set every rate of dropout and router noise to 0, in place; training mode then computes what evaluation computes.

    Models read rates from their modules (`nn.Dropout`, or an attribute that they pass to a function) and from the
    config.
    """
    for module in model.modules():
        if isinstance(module, _DROPOUT_MODULES):
            module.p = 0.0
        _silence(module)


def _silence(owner: nn.Module | PreTrainedConfig) -> None:
    for name, value in list(vars(owner).items()):
        if isinstance(value, PreTrainedConfig):
            _silence(value)
        elif isinstance(value, float) and any(part in name for part in _NOISE):
            setattr(owner, name, 0.0)
