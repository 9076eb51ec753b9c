"""The configuration of a vLLM engine: the process environment, the engine's arguments, and the sampling of a request.

This module imports vLLM only inside functions, because the environment must be set before vLLM is first imported.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, get_args

from rlpost.errors import ClusterError
from rlpost.records import GenerationRequest
from rlpost.settings import Device, EngineSettings

if TYPE_CHECKING:
    from vllm import EngineArgs, SamplingParams
    from vllm.config.lora import MaxLoRARanks

WEIGHT_BACKEND = "rlpost_weight_file"
"""Name of our backend in vLLM's registry of weight-transfer backends."""

CPU_STEP_TOKENS = 2048
"""Most tokens, chiefly of prompts, that an engine on CPU processes in a step, unless sequences or rows need more."""
CPU_BLOCK_TOKENS = 32
"""Tokens per block of the KV cache on CPU, the smallest number that its kernel supports. Prompts are shared in whole
blocks, and most prompts are shorter than vLLM's default of 128."""

CPU_KERNELS_KEPT = 256
"""Number of matrix products that oneDNN keeps compiled, one per weight shape and number of rows. Its default of 1024
takes hundreds of MiB, which fill up over minutes of new batch sizes like a leak, and decodes no faster (LOG.md)."""

ADAPTERS_HELD = 1024
"""More adapters than will ever be in use, so that vLLM never drops an adapter and reads it again from its folder."""


def engine_environment(device: Device, threads: int) -> dict[str, str]:
    """Return environment variables that a process needs before it imports vLLM; `threads` are those of CPU operators.

    On CPU, compilation costs 2 to 9 seconds at the first request and gains nothing in eager mode, and vLLM's own thread
    binding would put every engine of a machine on the same cores.
    """
    environment = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    if device == "cpu":
        environment |= {
            "OMP_NUM_THREADS": str(threads),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "TORCHDYNAMO_DISABLE": "1",
            "ONEDNN_PRIMITIVE_CACHE_CAPACITY": str(CPU_KERNELS_KEPT),
        }
    return environment


def require_engine_environment() -> None:
    """Reject a process in which vLLM would move the engine to a child process, out of reach of our thread.

    Raises:
        ClusterError: `engine_environment` was not applied before this process started.
    """
    name = "VLLM_ENABLE_V1_MULTIPROCESSING"
    if os.environ.get(name) != "0":
        raise ClusterError(
            f"a process that holds an engine needs {name}=0; found {os.environ.get(name)!r}: "
            "set what engine_environment() returns before vllm is imported"
        )


@cache
def register_weight_backend() -> None:
    """Register our weight-transfer backend with vLLM, once per process; vLLM imports it when an engine uses it."""
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    WeightTransferEngineFactory.register_engine(
        WEIGHT_BACKEND, "rlpost.weight_sync.vllm_shared_memory", "WeightFileTransferEngine"
    )


def engine_arguments(settings: EngineSettings) -> EngineArgs:
    """Return the arguments of one engine; `kv_cache_mib` applies on CPU, `memory_fraction` on CUDA.

    Raises:
        ClusterError: `lora_rank` is larger than vLLM supports.
    """
    from vllm import EngineArgs
    from vllm.config import WeightTransferConfig

    on_cpu = settings.device == "cpu"
    return EngineArgs(
        model=settings.model_dir,
        dtype=settings.dtype,
        trust_remote_code=settings.trust_remote_code,
        # Without safetensors files, vLLM would otherwise load pickled weights.
        load_format="safetensors",
        max_model_len=settings.max_length,
        max_num_seqs=settings.max_concurrent,
        tensor_parallel_size=settings.tensor_parallel,
        distributed_executor_backend="uni" if settings.tensor_parallel == 1 else "mp",
        kv_cache_memory_bytes=settings.kv_cache_mib << 20 if on_cpu else None,
        gpu_memory_utilization=settings.memory_fraction,
        block_size=CPU_BLOCK_TOKENS if on_cpu else None,
        enforce_eager=on_cpu,
        # A prompt split over two steps would be sampled from once too early, and a seeded generator cannot step back on
        # CPU: vLLM raises "CPU Generator does not use offset". Therefore a step on CPU takes only whole prompts.
        enable_chunked_prefill=not on_cpu,
        max_num_batched_tokens=max(CPU_STEP_TOKENS, settings.max_length, settings.max_concurrent) if on_cpu else None,
        # One step at a time: no token is being computed while weights change, so each is assigned to the right version.
        async_scheduling=False,
        # Log-probabilities after temperature, as the learner computes them; vLLM's default is before temperature.
        logprobs_mode="processed_logprobs",
        # The recipe defines sampling; a generation_config.json in the model directory must not change it.
        generation_config="vllm",
        weight_transfer_config=WeightTransferConfig(backend=WEIGHT_BACKEND),
        enable_lora=settings.lora_rank is not None,
        max_lora_rank=_lora_rank_of_kernels(settings.lora_rank or 1),
        max_loras=settings.lora_versions,
        max_cpu_loras=ADAPTERS_HELD,
        disable_log_stats=False,
        use_tqdm_on_load=False,
    )


def _lora_rank_of_kernels(rank: int) -> MaxLoRARanks:
    """Return the smallest rank that vLLM has kernels for and that adapters of `rank` fit into."""
    from vllm.config.lora import MaxLoRARanks

    supported: tuple[MaxLoRARanks, ...] = get_args(MaxLoRARanks)
    for kernel_rank in sorted(supported):
        if rank <= kernel_rank:
            return kernel_rank
    raise ClusterError(
        f"adapters are sent to engines up to rank {max(supported)}; found learner.lora.rank {rank}: "
        "lower it, or set learner.lora.sync to merged"
    )


def sampling_params(request: GenerationRequest) -> SamplingParams:
    """Convert one request to vLLM's parameters.

    We decode tokens once at the end. Only the request's own stop tokens end a response, and no others that the model's
    config may name.
    """
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    sampling = request.sampling
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        max_tokens=sampling.max_tokens,
        stop_token_ids=list(sampling.stop_token_ids),
        ignore_eos=True,
        seed=request.seed,
        logprobs=0,
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
