"""Importance ratios from log-probabilities, safe to add up in float32."""

from __future__ import annotations

from torch import Tensor

MAX_LOG_RATIO = 20.0
"""Log-ratios are clamped at this size before `exp`: e^20 is 5e8, far from overflow in float32 even when summed."""


def ratios_of(log_ratios: Tensor) -> Tensor:
    """Return `exp` of log-ratios of any shape; a log-ratio clamped at `MAX_LOG_RATIO` has no gradient."""
    return log_ratios.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
