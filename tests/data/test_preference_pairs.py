"""Pairs contrast a best sample with a worst one, and keep the sampled tokens."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opened import tokenized
from tiny_models import byte_tokenizer

from rlpost.data.chat import ChatFormat
from rlpost.data.preference import PreferencePair, pairs_from_samples
from rlpost.data.tokenized import pair_rows
from rlpost.errors import DataError
from rlpost.records import (
    Completion,
    Example,
    Fault,
    Message,
    Prompt,
    RolloutGroup,
    Verdict,
    VersionSpan,
    assistant_turn,
)
from rlpost.rollout.episodes import single_turn

PROMPT_LENGTH = 2


def group(*samples: tuple[int, Verdict], index: int = 0) -> RolloutGroup:
    """Samples of one token each, its id also being its text."""
    prompt = Prompt(
        id="s/0", dataset="s", messages=(), token_ids=np.full(PROMPT_LENGTH, 3, np.int32), gold=None, meta={}
    )
    completions = (
        Completion(
            key=("s/0", number),
            token_ids=np.array([token], np.int32),
            logprobs_T=np.zeros(1, np.float32),
            version_spans=(VersionSpan(start=0, stop=1, version=0),),
            finish="stop",
            text=str(token),
            seconds=0.0,
        )
        for number, (token, _) in enumerate(samples)
    )
    episodes = tuple(single_turn(prompt, completion) for completion in completions)
    return RolloutGroup(prompt=prompt, index=index, episodes=episodes, verdicts=tuple(v for _, v in samples))


def cut_off(group: RolloutGroup, *samples: int) -> RolloutGroup:
    """The group with some of its responses ended by their length."""
    episodes = [
        replace(episode, trajectories=(replace(episode.trajectories[0], finish="length"),))
        if place in samples
        else episode
        for place, episode in enumerate(group.episodes)
    ]
    return replace(group, episodes=tuple(episodes))


def scored(score: float) -> Verdict:
    return Verdict(score=score)


def tokens(pairs: list[PreferencePair]) -> list[tuple[int, int]]:
    return [(int(pair.chosen.token_ids[-1]), int(pair.rejected.token_ids[-1])) for pair in pairs]


def test_the_best_and_the_worst_are_paired_with_their_own_tokens() -> None:
    pairs, dropped = pairs_from_samples(
        [group((10, scored(0.5)), (11, scored(1.0)), (12, scored(0.0)))], pairs_per_prompt=4, seed=0
    )
    assert (tokens(pairs), dropped) == ([(11, 12)], 0)
    assert pairs[0].chosen.token_ids.tolist() == [3, 3, 11]
    assert pairs[0].chosen.weights_T.tolist() == [0, 0, 1]
    assert pairs[0].rejected.weights_T.tolist() == [0, 0, 1]


def test_a_response_that_was_cut_off_is_never_chosen_and_may_be_rejected() -> None:
    samples = group((10, scored(1.0)), (11, scored(0.5)), (12, scored(0.0)), (13, scored(0.0)))
    assert tokens(pairs_from_samples([cut_off(samples, 0, 2, 3)], pairs_per_prompt=1, seed=0).pairs)[0][0] == 11
    both = tokens(pairs_from_samples([cut_off(samples, 0, 2)], pairs_per_prompt=9, seed=0).pairs)
    assert sorted(both) == [(11, 12), (11, 13)]
    assert pairs_from_samples([cut_off(samples, 0, 1)], pairs_per_prompt=9, seed=0) == ([], 1)


def test_of_two_responses_with_one_text_the_one_that_ended_counts() -> None:
    samples = group((10, scored(1.0)), (10, scored(1.0)), (12, scored(0.0)))
    assert tokens(pairs_from_samples([cut_off(samples, 0)], pairs_per_prompt=9, seed=0).pairs) == [(10, 12)]


def test_scores_that_differ_by_rounding_are_no_contrast() -> None:
    total = 0.7 + 0.2 + 0.1
    assert pairs_from_samples([group((10, scored(1.0)), (11, scored(total)))], pairs_per_prompt=1, seed=0) == ([], 1)
    pairs, _ = pairs_from_samples(
        [group((10, scored(1.0)), (11, scored(total)), (12, scored(0)))], pairs_per_prompt=9, seed=0
    )
    assert sorted(tokens(pairs)) == [(10, 12), (11, 12)]


def test_faulted_samples_and_prompts_without_contrast_give_no_pair() -> None:
    crashed, absent = Verdict(score=0.0, fault=Fault.POLICY), Verdict(fault=Fault.INFRA)
    groups = [
        group((10, scored(1.0)), (11, crashed), (12, absent)),
        group((10, scored(1.0)), (11, scored(1.0))),
        group((10, absent), (11, absent)),
        group((10, scored(1.0)), (10, scored(0.0))),
    ]
    assert pairs_from_samples(groups, pairs_per_prompt=2, seed=0) == ([], 4)


@given(
    scores=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=10),
    count=st.integers(1, 30),
    seed=st.integers(0, 100),
)
def test_pairs_are_distinct_extreme_and_as_many_as_there_can_be(scores: list[float], count: int, seed: int) -> None:
    samples = [(10 + number, scored(score)) for number, score in enumerate(scores)]
    pairs, dropped = pairs_from_samples([group(*samples)], pairs_per_prompt=count, seed=seed)
    low, high = min(scores), max(scores)
    possible = scores.count(low) * scores.count(high) if low < high else 0
    assert len(pairs) == len(set(tokens(pairs))) == min(count, possible)
    assert dropped == (possible == 0)
    assert all(scores[chosen - 10] == high and scores[rejected - 10] == low for chosen, rejected in tokens(pairs))


def test_the_draw_depends_on_seed_and_group_but_not_on_the_order_of_groups() -> None:
    samples = [(10 + number, scored(float(number % 2))) for number in range(40)]
    groups = [group(*samples, index=index) for index in range(6)]
    forward = tokens(pairs_from_samples(groups, pairs_per_prompt=1, seed=1).pairs)
    backward = tokens(pairs_from_samples(groups[::-1], pairs_per_prompt=1, seed=1).pairs)
    assert forward == backward[::-1]
    assert len(set(forward)) > 1
    assert forward != tokens(pairs_from_samples(groups, pairs_per_prompt=1, seed=2).pairs)


def test_given_pairs_share_their_prompt_and_long_ones_are_dropped() -> None:
    chat = ChatFormat(byte_tokenizer())
    examples = [
        Example(
            id=f"s/{n}",
            dataset="s",
            messages=(Message(role="user", content="q"),),
            completion=assistant_turn("ab"),
            rejected=assistant_turn(rejected),
        )
        for n, rejected in enumerate(["c", "c" * 40])
    ]
    sets = tokenized(examples, chat=chat, shape="pair")
    pairs, _, dropped = pair_rows(sets, max_length=32)
    assert (len(pairs), dropped) == (1, 1)
    prompt = len("user: q\nassistant: ")
    chosen, rejected = pairs[0]
    np.testing.assert_array_equal(chosen.token_ids[:prompt], rejected.token_ids[:prompt])
    assert chat.tokenizer.decode(chosen.token_ids[chosen.weights_T > 0]) == "ab<|eos|>"
    assert chat.tokenizer.decode(rejected.token_ids[rejected.weights_T > 0]) == "c<|eos|>"
    with pytest.raises(DataError, match=r"no preference pair fits in max_length = 21"):
        pair_rows(sets, max_length=21)
