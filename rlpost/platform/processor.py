"""Properties of the processor that a recipe should respect: bfloat16 is slow without instructions for it."""

from __future__ import annotations

from pathlib import Path

from rlpost.recipe.arithmetic import generates
from rlpost.recipe.schema import ClusterConfig, Recipe

CPU_INFO = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = frozenset({"avx512bw", "avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"})
"""Processor flags for which oneDNN (which torch and vLLM use) has bfloat16 kernels; the last one is Arm's."""


def has_bfloat16_kernels() -> bool | None:
    """Whether matrix products in bfloat16 are fast on this machine's processor; None if Linux does not report it."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, words = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return not _BFLOAT16_FLAGS.isdisjoint(words.split())
    return None


def slow_format_lines(recipe: Recipe, cluster: ClusterConfig) -> list[str]:
    """Warn about number formats that make a run many times slower, judged by the machine that this runs on (LOG.md)."""
    if has_bfloat16_kernels() is not False:
        return []
    trained = [stage.training for stage in recipe.stages if stage.training is not None]
    formats = {stage.learner.compute_dtype or recipe.model.dtype for stage in trained}
    parts = ["training"] if cluster.learner.device == "cpu" and "bfloat16" in formats else []
    engines = cluster.launcher == "ray" and cluster.rollout.actors > 0 and generates(recipe)
    parts += ["generation"] if engines and cluster.rollout.device == "cpu" and recipe.model.dtype == "bfloat16" else []
    if not parts:
        return []
    own = any(stage.learner.compute_dtype == "bfloat16" for stage in trained)
    remedy = "model.dtype: float32" + (" and learner.compute_dtype: float32" if own else "")
    return [
        f"SLOW: {' and '.join(parts)} on cpu in bfloat16, and this machine's processor has no instructions for it: "
        f"a step took 16 times as long as in float32 where that was measured. To be fast here, set {remedy}"
    ]
