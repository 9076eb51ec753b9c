from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_probe import MAX_LENGTH, a_request, ask, collect, start_generator, transformers_logprobs
from tiny_models import EOS_ID, byte_tokenizer, save_tiny_model, tiny_qwen3
from transformers import PreTrainedModel

from rlpost.engine_records import WeightManifest
from rlpost.errors import ClusterError, DataError
from rlpost.records import Completion, VersionSpan
from rlpost.rollout.vllm_generator import VllmGenerator
from rlpost.rollout.vllm_settings import engine_arguments, engine_environment
from rlpost.settings import EngineSettings

pytestmark = pytest.mark.engine
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("generator") / "model", tied=False, seed=0)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_qwen3(0, tied=False)


@pytest.fixture(scope="module")
def generator(model_dir: Path) -> Iterator[VllmGenerator]:
    generator = start_generator(model_dir, weight_version=7)
    yield generator
    generator.close()


def same_response(one: Completion, other: Completion) -> bool:
    return np.array_equal(one.token_ids, other.token_ids) and np.array_equal(one.logprobs_T, other.logprobs_T)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_of_transformers_after_temperature(
    generator: VllmGenerator, model: PreTrainedModel, temperature: float
) -> None:
    requests = [a_request(str(seed), seed=seed, temperature=temperature) for seed in range(16)]
    rollouts = ask(generator, requests)
    for request in requests:
        rollout = rollouts[request.key[0]]
        expected = transformers_logprobs(model, request, rollout, temperature=temperature)
        assert np.abs(rollout.logprobs_T - expected).max() <= TOLERANCE


def test_greedy_takes_the_likeliest_token_and_reports_logprobs_of_temperature_one(
    generator: VllmGenerator, model: PreTrainedModel
) -> None:
    greedy = a_request("greedy", seed=3, temperature=0.0)
    # A sampled neighbour puts both into one batch, where vLLM divides by each row's own temperature.
    rollouts = ask(generator, [greedy, a_request("sampled", seed=4, temperature=0.5)])
    expected = transformers_logprobs(model, greedy, rollouts["greedy"], temperature=1.0)
    assert np.abs(rollouts["greedy"].logprobs_T - expected).max() <= TOLERANCE
    assert same_response(rollouts["greedy"], ask(generator, [replace(greedy, seed=99)])["greedy"])


def test_a_request_gives_the_same_response_in_any_order_and_any_batch(generator: VllmGenerator) -> None:
    requests = [a_request(str(seed), seed=seed) for seed in range(24)]
    together = ask(generator, requests)
    reversed_order = ask(generator, requests[::-1])
    alone = {key: rollout for request in requests[:4] for key, rollout in ask(generator, [request]).items()}
    assert all(same_response(together[key], reversed_order[key]) for key in together)
    assert all(same_response(together[key], alone[key]) for key in alone)
    assert not same_response(together["0"], ask(generator, [replace(requests[0], seed=1000)])["0"])


def test_long_prompts_that_share_steps_and_cached_blocks_give_the_same_responses(generator: VllmGenerator) -> None:
    # 20 x 300 tokens are more than a step takes, and samples of one prompt find each other's blocks in the cache.
    prompt = a_request("p", seed=1, prompt_length=300)
    requests = [replace(prompt, key=(str(seed), 0), seed=seed) for seed in range(10)]
    requests += [a_request(str(seed), seed=seed, prompt_length=300) for seed in range(10, 20)]
    first = ask(generator, requests)
    again = ask(generator, requests[::-1])
    assert all(same_response(first[key], again[key]) for key in first)
    assert len({rollout.token_ids.tobytes() for rollout in first.values()}) == 20


def test_a_rollout_says_what_it_is(generator: VllmGenerator) -> None:
    rollout = ask(generator, [a_request("p", seed=5, max_tokens=9)])["p"]
    assert rollout.key == ("p", 0)
    assert rollout.finish == "length"
    assert rollout.token_ids.dtype == np.int32
    assert len(rollout.token_ids) == len(rollout.logprobs_T) == 9
    assert rollout.version_spans == (VersionSpan(start=0, stop=9, version=7),)
    assert rollout.text == byte_tokenizer().decode(rollout.token_ids.tolist(), skip_special_tokens=True)
    assert 0 < rollout.seconds < 30


def test_a_stop_token_ends_the_response_and_is_kept(generator: VllmGenerator) -> None:
    free = ask(generator, [a_request("p", seed=6)])["p"]
    stop = int(free.token_ids[5])
    stopped = ask(generator, [a_request("p", seed=6, stop=[stop])])["p"]
    end = free.token_ids.tolist().index(stop) + 1
    assert stopped.finish == "stop"
    assert stopped.token_ids.tolist() == free.token_ids[:end].tolist()


def test_only_the_stop_tokens_of_the_request_end_it(generator: VllmGenerator) -> None:
    requests = [a_request(str(seed), seed=seed, max_tokens=100) for seed in range(40)]
    rollouts = ask(generator, requests)
    assert all(len(rollout.token_ids) == 100 for rollout in rollouts.values())
    meets_eos = next(request for request in requests if EOS_ID in rollouts[request.key[0]].token_ids)
    sampling = replace(meets_eos.sampling, stop_token_ids=(EOS_ID,))
    stopped = ask(generator, [replace(meets_eos, sampling=sampling)])[meets_eos.key[0]]
    assert stopped.finish == "stop"
    assert stopped.token_ids[-1] == EOS_ID
    assert "<|eos|>" not in stopped.text


def test_a_response_ends_where_the_context_ends(generator: VllmGenerator) -> None:
    rollout = ask(generator, [a_request("p", seed=1, prompt_length=MAX_LENGTH - 5, max_tokens=100)])["p"]
    assert len(rollout.token_ids) == 5
    assert rollout.finish == "length"


@pytest.mark.parametrize("length", [0, MAX_LENGTH, MAX_LENGTH + 1])
def test_a_prompt_that_leaves_no_room_is_refused_with_its_whole_batch(generator: VllmGenerator, length: int) -> None:
    with pytest.raises(DataError, match=rf"prompt 'bad' has {length}.*max_length"):
        generator.submit([a_request("good", seed=1), a_request("bad", seed=2, prompt_length=length)])
    assert generator.poll(0.3) == []


def test_poll_waits_no_longer_than_told_and_submit_does_not_wait(generator: VllmGenerator) -> None:
    start = time.monotonic()
    assert generator.poll(0.2) == []
    assert 0.2 <= time.monotonic() - start < 1.0
    start = time.monotonic()
    generator.submit([a_request(str(seed), seed=seed, max_tokens=200) for seed in range(64)])
    submit_seconds = time.monotonic() - start
    collect(generator, 64)
    assert submit_seconds < 0.2 * (time.monotonic() - start)


def test_threads_may_submit_and_poll_at_once(generator: VllmGenerator) -> None:
    def submit(first: int) -> None:
        for seed in range(first, first + 10):
            generator.submit([a_request(str(seed), seed=seed, max_tokens=8)])

    threads = [threading.Thread(target=submit, args=(10 * index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    rollouts = collect(generator, 40)
    for thread in threads:
        thread.join()
    assert sorted(rollouts, key=int) == [str(seed) for seed in range(40)]
    assert same_response(rollouts["7"], ask(generator, [a_request("7", seed=7, max_tokens=8)])["7"])


def test_a_cache_that_is_too_small_is_told_and_the_responses_are_right(model_dir: Path, model: PreTrainedModel) -> None:
    generator = start_generator(model_dir, weight_version=0, kv_cache_mib=1)
    try:
        load = generator.loads()[0]
        # 2048 tokens fit, four responses of the longest kind.
        assert load.limit == 4
        requests = [a_request(str(seed), seed=seed, prompt_length=40, max_tokens=150 + seed) for seed in range(24)]
        rollouts = ask(generator, requests)
        assert generator.loads()[0].preemptions > 0
        for request in requests:
            expected = transformers_logprobs(model, request, rollouts[request.key[0]], temperature=1.0)
            assert np.abs(rollouts[request.key[0]].logprobs_T - expected).max() <= TOLERANCE
    finally:
        generator.close()


def test_the_death_of_an_engine_reaches_every_later_caller(model_dir: Path) -> None:
    generator = start_generator(model_dir, weight_version=0, name="doomed")
    outside = replace(a_request("p", seed=1), prompt_token_ids=np.array([10_000_000], np.int32))
    generator.submit([a_request("lost", seed=2), outside])
    manifest = WeightManifest(version=1, path="/nowhere", checksum="", tensor_count=0, byte_count=0)
    with pytest.raises(ClusterError, match=r"generator doomed has failed: .*vocab") as caught:
        generator.pull_weights(manifest, keep_kv_cache=False)
    assert caught.value.__cause__ is not None
    with pytest.raises(ClusterError, match="generator doomed has failed"):
        generator.poll(60.0)
    with pytest.raises(ClusterError, match="generator doomed has failed"):
        generator.submit([a_request("q", seed=3)])
    generator.close()


def test_an_engine_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="generator probe has failed"):
        start_generator(tmp_path / "missing", weight_version=0)


def test_a_process_without_the_engine_environment_is_refused(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_environment("cpu", 1)["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    with pytest.raises(ClusterError, match="VLLM_ENABLE_V1_MULTIPROCESSING=0; found '1'"):
        start_generator(model_dir, weight_version=0)


@pytest.mark.parametrize("trust", [False, True])
def test_an_engine_trusts_whom_it_is_told_to_and_reads_no_pickled_weights(model_dir: Path, trust: bool) -> None:
    arguments = engine_arguments(
        EngineSettings(
            model_dir=str(model_dir),
            device="cpu",
            tensor_parallel=1,
            max_length=MAX_LENGTH,
            max_concurrent=4,
            kv_cache_mib=64,
            memory_fraction=0.5,
            dtype="float32",
            trust_remote_code=trust,
            lora_rank=None,
            lora_versions=1,
            weight_version=0,
        )
    )
    assert arguments.trust_remote_code is trust
    assert arguments.load_format == "safetensors"
