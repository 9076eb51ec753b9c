"""One vLLM engine inside this process, in the project's records. Not thread-safe: `VllmGenerator` adds the thread."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rlpost.records import GenerationRequest, Rollout, VersionSpan, WeightManifest, WeightReceipt
from rlpost.rollout.vllm_settings import register_weight_backend, sampling_params

if TYPE_CHECKING:
    from vllm import EngineArgs, RequestOutput
    from vllm.outputs import CompletionOutput


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A request and when it arrived, on the monotonic clock."""

    request: GenerationRequest
    arrival_s: float


class VllmEngine:
    """Adds requests, steps, and replaces weights between two steps."""

    def __init__(self, arguments: EngineArgs, *, name: str, weight_version: int) -> None:
        """Start vLLM; `name` goes onto receipts, `weight_version` names the weights of the model directory."""
        register_weight_backend()
        # From here, not from vllm's front page: this is the engine core that is stepped by its caller.
        from vllm.v1.engine.llm_engine import LLMEngine

        self._engine = LLMEngine.from_engine_args(arguments)
        self._engine.collective_rpc("init_weight_transfer_engine", kwargs={"init_info": {}})
        self._engine.set_weight_version(str(weight_version))
        self._tokenizer = self._engine.get_tokenizer()
        self._name = name
        self._running: dict[str, Submission] = {}
        self._request_ids = map(str, itertools.count())

    @property
    def busy(self) -> bool:
        """Whether a step would do something."""
        return bool(self._running)

    def add(self, submission: Submission) -> None:
        """Take in one request, to be decoded by the steps that follow."""
        from vllm.inputs import tokens_input

        request_id = next(self._request_ids)
        request = submission.request
        self._engine.add_request(request_id, tokens_input(request.prompt_token_ids.tolist()), sampling_params(request))
        self._running[request_id] = submission

    def step(self) -> list[Rollout]:
        """Sample one token for every response that is being decoded; returns those that ended."""
        outputs = cast("list[RequestOutput]", self._engine.step())
        return [self._rollout(output.outputs[0], self._running.pop(output.request_id)) for output in outputs]

    def pull_weights(self, manifest: WeightManifest) -> WeightReceipt:
        """Load the weights of `manifest` into the model, by vLLM's weight-transfer protocol.

        Raises:
            WeightSyncError: The file was refused before the model was touched. Any other error leaves it broken.
        """
        start = time.monotonic()
        update = {"path": manifest.path, "checksum": manifest.checksum, "version": manifest.version}
        self._engine.collective_rpc("start_weight_update")
        self._engine.collective_rpc("update_weights", kwargs={"update_info": update})
        self._engine.collective_rpc("finish_weight_update")
        self._engine.set_weight_version(str(manifest.version))
        # Keys and values of the old weights must neither be found by new prompts nor be continued by running ones.
        self._engine.reset_prefix_cache(reset_running_requests=True)
        checksums = set(self._engine.collective_rpc(_loaded_checksum))
        assert len(checksums) == 1, f"the ranks of engine {self._name} loaded different files: {sorted(checksums)}"
        return WeightReceipt(
            generator=self._name,
            version=int(self._engine.get_weight_version()),
            checksum=checksums.pop(),
            seconds=time.monotonic() - start,
        )

    def shutdown(self) -> None:
        """Free the engine's memory and end its workers."""
        self._engine.engine_core.shutdown()

    def _rollout(self, completion: CompletionOutput, submission: Submission) -> Rollout:
        request = submission.request
        token_ids = np.array(completion.token_ids, np.int32)
        logprobs = np.array(cast(Any, completion.logprobs).logprobs, np.float32)
        reason, spans = completion.finish_reason, completion.weight_versions
        assert reason in ("stop", "length"), f"vLLM ended response {request.key} by {reason!r}"
        assert spans is not None, f"vLLM did not say which weights sampled response {request.key}"
        assert logprobs.shape == token_ids.shape, f"{len(token_ids)} tokens but {len(logprobs)} log-probabilities"
        return Rollout(
            key=request.key,
            token_ids=token_ids,
            logprobs_T=logprobs,
            version_spans=tuple(VersionSpan(start=s.start, stop=s.end, version=int(s.version)) for s in spans),
            finish=reason,
            text=self._tokenizer.decode(token_ids.tolist(), skip_special_tokens=True),
            seconds=time.monotonic() - submission.arrival_s,
        )


def _loaded_checksum(worker: Any) -> str:
    """Runs in a vLLM worker: the checksum of the file that our backend loaded last."""
    return worker.weight_transfer_engine.loaded_checksum
