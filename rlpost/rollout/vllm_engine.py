"""One vLLM engine in this process, which speaks the project's records. Not thread-safe: `VllmGenerator` adds the
thread.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rlpost.engine_records import EngineLoad, WeightManifest, WeightReceipt
from rlpost.records import Completion, GenerationRequest, VersionSpan
from rlpost.rollout.concurrency import ConcurrencyLimit, StepObservation
from rlpost.rollout.vllm_adapters import Adapter, Adapters
from rlpost.rollout.vllm_settings import register_weight_backend, sampling_params

if TYPE_CHECKING:
    from vllm import EngineArgs, RequestOutput
    from vllm.config import VllmConfig
    from vllm.outputs import CompletionOutput


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A request, and its time of arrival on the monotonic clock."""

    request: GenerationRequest
    arrival_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Running:
    """A submission inside vLLM."""

    submission: Submission
    adapter: Adapter | None


class VllmEngine:
    """Adds requests, steps, and replaces weights between two steps."""

    def __init__(self, arguments: EngineArgs, *, name: str, weight_version: int) -> None:
        """Start vLLM; `name` appears on receipts, and `weight_version` is the version of the model directory's
        weights.
        """
        register_weight_backend()
        # Imported from here and not from vLLM's top level, because the caller steps this engine core itself.
        from vllm.v1.engine.llm_engine import LLMEngine

        from rlpost.rollout.vllm_stats import StepStats

        self._engine = LLMEngine.from_engine_args(arguments, stat_loggers=[StepStats])
        self._engine.collective_rpc("init_weight_transfer_engine", kwargs={"init_info": {}})
        self._engine.set_weight_version(str(weight_version))
        assert self._engine.logger_manager is not None, "the engine's arguments ask for statistics"
        (stats,) = self._engine.logger_manager.stat_loggers
        self._stats = cast(StepStats, stats)
        self._tokenizer = self._engine.get_tokenizer()
        self._name = name
        self._version = weight_version
        self._pulls = 0
        self._adapters = Adapters(self._engine)
        self._limit = _concurrency_limit(self._engine.vllm_config)
        self._running: dict[str, _Running] = {}
        self._request_ids = map(str, itertools.count())
        self._busy_s = 0.0
        self._preemptions = 0
        self._put_back = 0
        """Number of responses that were preempted here to change weights, and that vLLM has not reported yet."""

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._running)

    def load(self) -> EngineLoad:
        """Return the load of the engine as of its last step."""
        return EngineLoad(
            generator=self._name,
            limit=self._limit.limit,
            running=self._stats.running,
            waiting=len(self._running) - self._stats.running,
            kv_cache_use=self._stats.kv_cache_use,
            preemptions=self._preemptions,
            tokens=self._stats.tokens,
            busy_s=self._busy_s,
            version=self._version,
        )

    def add(self, submission: Submission) -> None:
        """Accept one request, which the following steps decode."""
        from vllm.inputs import tokens_input

        request = submission.request
        self._limit.admit_group(request.key[1] + 1)
        # Blocks of the prefix cache are looked up together with the number of earlier weight updates. A prompt
        # therefore never meets keys and values of other weights, and the cache need not be cleared while responses use
        # it.
        prompt = tokens_input(request.prompt_token_ids.tolist(), cache_salt=str(self._pulls))
        request_id, adapter = next(self._request_ids), self._adapters.borrow()
        self._engine.add_request(
            request_id,
            prompt,
            sampling_params(request),
            lora_request=None if adapter is None else adapter.lora_request,
        )
        self._running[request_id] = _Running(submission=submission, adapter=adapter)

    def step(self) -> list[Completion]:
        """Sample one token for every response that is being decoded, and return the responses that ended."""
        start, told_before = time.monotonic(), self._stats.preempted
        outputs = cast("list[RequestOutput]", self._engine.step())
        completions = [self._completion(output.outputs[0], self._end(output.request_id)) for output in outputs]
        preempted = self._without_ours(self._stats.preempted - told_before)
        self._preemptions += preempted
        self._limit.observe(
            StepObservation(
                running=self._stats.running + len(completions),
                finished=len(completions),
                preempted=preempted,
                kv_cache_use=self._stats.kv_cache_use,
            )
        )
        self._busy_s += time.monotonic() - start
        return completions

    def pull_weights(self, manifest: WeightManifest, *, keep_kv_cache: bool) -> WeightReceipt:
        """Load the weights of `manifest`; requests that vLLM has not started yet will start with them.

        With a new model, responses in progress continue with it, and their keys and values are kept or recomputed. With
        a new adapter on the same model, they end with the adapter that they began with.

        Raises:
            WeightSyncError: the weights were rejected before any change. Any other error leaves the engine broken.
        """
        start = time.monotonic()
        if manifest.kind == "adapter":
            checksum = self._adapters.switch(manifest)
        else:
            checksum = self._replace_model(manifest)
            self._adapters.drop_current()
        not_begun = self._take_back_what_has_not_begun()
        if manifest.kind == "full" and not keep_kv_cache:
            self._put_back_what_runs()
        self._version = manifest.version
        self._pulls += 1
        for submission in not_begun:
            self.add(submission)
        return WeightReceipt(
            generator=self._name, version=self._version, checksum=checksum, seconds=time.monotonic() - start
        )

    def abandon(self) -> None:
        """Drop all responses in progress, including their tokens so far."""
        self._engine.abort_request(list(self._running))
        for request_id in list(self._running):
            self._end(request_id)
        # vLLM will not report the responses that were preempted here.
        self._put_back = 0

    def shutdown(self) -> None:
        """Free the engine's memory and end its workers."""
        self._engine.engine_core.shutdown()

    def _replace_model(self, manifest: WeightManifest) -> str:
        """Load the model by vLLM's weight-transfer protocol; return the checksum of the bytes that its workers read."""
        update = {"path": manifest.path, "checksum": manifest.checksum, "version": manifest.version}
        self._engine.collective_rpc("start_weight_update")
        self._engine.collective_rpc("update_weights", kwargs={"update_info": update})
        self._engine.collective_rpc("finish_weight_update")
        self._engine.set_weight_version(str(manifest.version))
        checksums = set(self._engine.collective_rpc(_loaded_checksum))
        assert len(checksums) == 1, f"the ranks of engine {self._name} loaded different files: {sorted(checksums)}"
        return checksums.pop()

    def _take_back_what_has_not_begun(self) -> list[Submission]:
        """Take waiting requests out of vLLM, because they would still look for cached blocks of the weights at their
        arrival.
        """
        states = self._engine.output_processor.request_states.values()
        request_ids = [state.external_req_id for state in states if state.is_prefilling]
        self._engine.abort_request(request_ids)
        return [self._end(request_id).submission for request_id in request_ids]

    def _put_back_what_runs(self) -> None:
        """Clear the cache, so that running responses recompute keys and values of their tokens with the new weights."""
        self._engine.reset_prefix_cache(reset_running_requests=True)
        self._put_back += self._stats.running
        self._stats.running = 0

    def _end(self, request_id: str) -> _Running:
        running = self._running.pop(request_id)
        self._adapters.give_back(running.adapter)
        return running

    def _without_ours(self, preempted: int) -> int:
        """Return how many of the responses that vLLM reports as preempted were preempted by vLLM itself."""
        ours = min(preempted, self._put_back)
        self._put_back -= ours
        return preempted - ours

    def _completion(self, output: CompletionOutput, running: _Running) -> Completion:
        request = running.submission.request
        token_ids = np.array(output.token_ids, np.int32)
        logprobs = np.array(cast(Any, output.logprobs).logprobs, np.float32)
        reason = output.finish_reason
        assert reason in ("stop", "length"), f"vLLM ended response {request.key} by {reason!r}"
        assert logprobs.shape == token_ids.shape, f"{len(token_ids)} tokens but {len(logprobs)} log-probabilities"
        return Completion(
            key=request.key,
            token_ids=token_ids,
            logprobs_T=logprobs,
            version_spans=_version_spans(output, running.adapter),
            finish=reason,
            text=self._tokenizer.decode(token_ids.tolist(), skip_special_tokens=True),
            seconds=time.monotonic() - running.submission.arrival_s,
        )


def _version_spans(completion: CompletionOutput, adapter: Adapter | None) -> tuple[VersionSpan, ...]:
    """Return the versions by vLLM's record of the model's weights; a response with an adapter has a single version."""
    if adapter is not None:
        return (VersionSpan(start=0, stop=len(completion.token_ids), version=adapter.version),)
    spans = completion.weight_versions
    assert spans is not None, "vLLM did not say which weights sampled a response"
    return tuple(VersionSpan(start=span.start, stop=span.end, version=int(span.version)) for span in spans)


def _concurrency_limit(config: VllmConfig) -> ConcurrencyLimit:
    """Make a limit that ranges from the number of longest sequences in the KV cache to vLLM's own maximum."""
    blocks = config.cache_config.num_gpu_blocks
    assert blocks is not None, "vLLM has made its KV cache when it has started"
    ceiling = config.scheduler_config.max_num_seqs
    holds = blocks * config.cache_config.block_size // config.model_config.max_model_len
    return ConcurrencyLimit(floor=min(ceiling, max(1, holds)), ceiling=ceiling)


def _loaded_checksum(worker: Any) -> str:
    """Return the checksum of the file that our backend loaded last; runs in a vLLM worker."""
    return worker.weight_transfer_engine.loaded_checksum
