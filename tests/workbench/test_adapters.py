"""Rewards of TRL as verifiers and back, with the rewards that TRL ships."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest
from probe_verifiers import group, same, word
from trl.rewards import think_format_reward
from trl_rewards import accuracy, async_texts, overlong, texts, think

from rewards.text import exact
from rlpost.errors import RewardError
from rlpost.records import Fault, Mark, Sample, Verdict
from rlpost.scoring.executors import Executors
from rlpost.workbench.adapters import as_trl, from_trl


def sample(response: str, *, gold: object = None, prompt: str = "1+1", tokens: int = 3, **meta: object) -> Sample:
    return Sample(id="s", prompt=prompt, response=response, gold=gold, token_count=tokens, meta=meta)


@pytest.fixture(scope="module")
def judges() -> Iterator[Executors]:
    judges = Executors([accuracy, think, overlong, texts, async_texts], workers=1)
    yield judges
    judges.close()


def judged(judges: Executors, verifier, *samples: Sample) -> list[Verdict]:
    return judges.judge(verifier, samples, params={}, timeout_s=60.0)


def test_trls_accuracy_judges_in_a_worker_and_what_it_skips_does_not_apply(judges: Executors) -> None:
    right, wrong, unreadable, no_gold = judged(
        judges,
        accuracy,
        sample(r"so $\boxed{\frac{1}{2}}$", gold=r"$\frac{1}{2}$"),
        sample(r"so \boxed{3}", gold=r"$\frac{1}{2}$"),
        sample(r"so \boxed{3}", gold="no formula here"),
        sample(r"so \boxed{3}"),
    )
    assert [verdict.score for verdict in (right, wrong)] == [1.0, 0.0], right
    assert Mark.NOT_APPLICABLE in unreadable.marks and unreadable.fault is None
    assert no_gold.fault is Fault.GOLD
    assert right.version == "trl.accuracy@1"


def test_trls_format_and_length_rewards_see_messages_and_the_number_of_tokens(judges: Executors) -> None:
    formatted = judged(judges, think, sample("<think>\nx\n</think>\n2"), sample("2"))
    assert [verdict.score for verdict in formatted] == [1.0, 0.0]
    lengths = judged(judges, overlong, *(sample("x", tokens=tokens) for tokens in (80, 90, 101)))
    assert [verdict.score for verdict in lengths] == [0.0, -0.5, -1.0]


def test_plain_texts_columns_and_coroutines_reach_the_function(judges: Executors) -> None:
    found = judged(judges, texts, sample("2", prompt="p", topic="p/2"), sample("2", prompt="p", topic="q/2"))
    assert [verdict.score for verdict in found] == [1.0, 0.0]
    assert judged(judges, texts, sample("2"))[0].fault is Fault.GOLD, "the column is not there"
    assert [verdict.score for verdict in judged(judges, async_texts, sample("a"), sample("b"))] == [1.0, 1.0]


def test_a_plain_function_cannot_be_remote() -> None:
    with pytest.raises(RewardError, match=r"mine is remote, so it must be an `async def`"):
        from_trl(think_format_reward, name="mine", version="1", reference="m:x", isolation="remote")


def test_a_verifier_is_called_as_trl_calls_a_reward() -> None:
    reward = as_trl(exact, params={"where": "final_line"}, gold="solution")
    assert reward.__name__ == "text.exact"
    prompts = [[{"role": "user", "content": "capital?"}]] * 3
    completions = [[{"role": "assistant", "content": text}] for text in ("The answer is: Rome", "Paris", "Rome")]
    scores = reward(
        prompts=prompts,
        completions=completions,
        completion_ids=[[1], [2], [3]],
        solution=["Rome", "Rome", None],
        trainer_state=object(),
        log_extra=print,
    )
    assert scores == [1.0, 0.0, None], "a row that cannot be judged is left out"
    reward.close()


def test_what_does_not_apply_is_none_and_a_policy_fault_is_the_floor() -> None:
    reward = as_trl(word)
    assert reward(["p"] * 3, ["a", "a:na", "a:raise"]) == [1.0, None, 0.0]
    reward.close()


def test_equal_prompts_beside_each_other_are_a_group_and_processes_stay_behind_a_pickle() -> None:
    reward = as_trl(group)
    try:
        scores = reward(["p", "p", "q", "q"], ["score 1", "score 0.25", "score 0.125", "score 1"])
        assert scores == [0.0, 1.0, 1.0, 0.0], "the longest of each group"
        assert reward._judges is not None
    finally:
        reward.close()
    other = as_trl(same, params={"scale": 0.5})
    assert other(["p"], ["x"], gold=["x"]) == [0.5]
    copy = pickle.loads(pickle.dumps(other))
    other.close()
    assert copy(["p"], ["x"], gold=["x"]) == [0.5]
    copy.close()


def test_parameters_that_do_not_fit_are_refused_at_once() -> None:
    with pytest.raises(RewardError, match="did you mean `where`"):
        as_trl(exact, params={"were": "auto"})
