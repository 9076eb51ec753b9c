"""How a vLLM engine is set up: the process environment, the engine's arguments, and one request's sampling.

Nothing here imports vLLM at module level: the environment must be known before vLLM is first imported.
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
"""Our entry in vLLM's registry of weight-transfer backends."""

CPU_STEP_TOKENS = 2048
"""Most tokens, of prompts above all, that an engine on CPU takes in at a step, if sequences and rows are fewer."""
CPU_BLOCK_TOKENS = 32
"""Tokens of a block of the KV cache on CPU, the fewest that its kernel takes: prompts are shared in whole blocks, and
vLLM's own 128 are more than most prompts have."""

CPU_KERNELS_KEPT = 256
"""Matrix products that oneDNN keeps compiled, one for each weight's shape and number of rows. Its own 1024 take
hundreds of MiB, which fill over minutes of ever new batch sizes like a leak, and decode no faster (LOG.md)."""

ADAPTERS_HELD = 1024
"""More than will ever be in flight, so that vLLM never drops an adapter by itself to read it again from its folder."""


def engine_environment(device: Device, threads: int) -> dict[str, str]:
    """Environment variables that a process needs before it imports vLLM; `threads` are those of CPU operators.

    On CPU, compilation costs 2 to 9 seconds at the first request and gains nothing at eager execution, and vLLM's own
    thread binding would put every engine of a machine on the same cores.
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
    """Refuse a process in which vLLM would move the engine to a child process, out of our thread's reach.

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
    """Tell vLLM, once a process, where our weight-transfer backend is; vLLM imports it when an engine asks for it."""
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    WeightTransferEngineFactory.register_engine(
        WEIGHT_BACKEND, "rlpost.weight_sync.vllm_shared_memory", "WeightFileTransferEngine"
    )


def engine_arguments(settings: EngineSettings) -> EngineArgs:
    """Arguments of one engine; `kv_cache_mib` counts on CPU, `memory_fraction` on CUDA.

    Raises:
        ClusterError: `lora_rank` is beyond what vLLM takes.
    """
    from vllm import EngineArgs
    from vllm.config import WeightTransferConfig

    on_cpu = settings.device == "cpu"
    return EngineArgs(
        model=settings.model_dir,
        dtype=settings.dtype,
        trust_remote_code=settings.trust_remote_code,
        # Where it finds none it would take pickled weights.
        load_format="safetensors",
        max_model_len=settings.max_length,
        max_num_seqs=settings.max_concurrent,
        tensor_parallel_size=settings.tensor_parallel,
        distributed_executor_backend="uni" if settings.tensor_parallel == 1 else "mp",
        kv_cache_memory_bytes=settings.kv_cache_mib << 20 if on_cpu else None,
        gpu_memory_utilization=settings.memory_fraction,
        block_size=CPU_BLOCK_TOKENS if on_cpu else None,
        enforce_eager=on_cpu,
        # A prompt split over two steps would be sampled from once too early, and a seeded generator cannot step back
        # on CPU: vLLM raises "CPU Generator does not use offset". So there a step takes whole prompts only.
        enable_chunked_prefill=not on_cpu,
        max_num_batched_tokens=max(CPU_STEP_TOKENS, settings.max_length, settings.max_concurrent) if on_cpu else None,
        # One step at a time: no token is in the making while weights change, so each is booked on its own version.
        async_scheduling=False,
        # After temperature, as the learner computes them; vLLM's own default is before temperature.
        logprobs_mode="processed_logprobs",
        # Sampling is the recipe's; a generation_config.json in the model directory must not change it.
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
    """The least rank that vLLM has kernels for and that adapters of `rank` fit into."""
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
    """One request in vLLM's terms.

    Tokens are decoded once at the end, by us. Only the request's own stop tokens end a response, not others that the
    model's config may name.
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
