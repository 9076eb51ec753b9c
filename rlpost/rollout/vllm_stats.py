"""The figures that vLLM reports about each step, by its stat-logger protocol. This module imports vLLM, so only an
engine's process should import it.
"""

from __future__ import annotations

from vllm.config import VllmConfig
from vllm.v1.metrics.loggers import PrometheusStatLogger
from vllm.v1.metrics.stats import IterationStats, MultiModalCacheStats, SchedulerStats


class StepStats(PrometheusStatLogger):
    """Figures of the last step, and sums since the engine started.

    It replaces vLLM's Prometheus logger, which vLLM adds itself unless it is given a logger of that kind: nobody reads
    that logger here, and its series grow in number with every adapter.
    """

    # vLLM's own initialisation would create the series that this class replaces.
    def __init__(self, vllm_config: VllmConfig, engine_indexes: list[int] | None = None) -> None:
        del vllm_config, engine_indexes
        self.running = 0
        self.kv_cache_use = 0.0
        self.tokens = 0
        self.preempted = 0
        """Number of responses reported as preempted in all steps, by vLLM for lack of KV cache, or here for new
        weights.
        """

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: IterationStats | None,
        mm_cache_stats: MultiModalCacheStats | None = None,
        engine_idx: int = 0,
    ) -> None:
        """Store the figures; vLLM calls this after each step."""
        del mm_cache_stats, engine_idx
        if scheduler_stats is not None:
            self.running = scheduler_stats.num_running_reqs
            self.kv_cache_use = scheduler_stats.kv_cache_usage
        if iteration_stats is not None:
            self.tokens += iteration_stats.num_generation_tokens
            self.preempted += iteration_stats.num_preempted_reqs

    def log_engine_initialized(self) -> None:
        """Do nothing, since there is nothing to announce."""
