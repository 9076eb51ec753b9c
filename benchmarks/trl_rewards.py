"""TRL's rewards with their names and signatures, computed by our verifiers; `conformance.py` runs TRL's tests on them.

Our scores lie in [0, 1] and TRL's penalties in [-1, 0], so 1 is subtracted. TRL's None corresponds to a gold fault.
Tokens are numbers in TRL's tests and words here, so each number becomes a word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.guarded import judge_guarded
from rlpost.scoring.registry import resolve

Completions = Sequence[Sequence[Mapping[str, str]]]
Rewards = list[float | None]


def think_format_reward(completions: Completions, **_: Any) -> Rewards:
    """Compute `format.tags` with one section and the answer after it."""
    params = {"tags": ["think"], "after": "required"}
    return [_value(_judged("format.tags", completion[0]["content"], params=params)) for completion in completions]


def get_soft_overlong_punishment(max_completion_len: int, soft_punish_cache: int) -> Callable[..., Rewards]:
    """Compute `shape.overlong` minus 1."""
    params = {"max_tokens": max_completion_len, "buffer_tokens": soft_punish_cache}

    def soft_overlong_punishment_reward(completion_ids: Sequence[Sequence[int]], **_: Any) -> Rewards:
        return [
            _value(_judged("shape.overlong", "text", params=params, token_count=len(ids)), less=1.0)
            for ids in completion_ids
        ]

    return soft_overlong_punishment_reward


class RepetitionPenalty:
    """Computes `shape.repetition` minus 1, times the largest penalty."""

    __name__ = "repetition_penalty_reward"

    def __init__(self, *, ngram_size: int, max_penalty: float) -> None:
        if max_penalty > 0:
            raise ValueError(f"max_penalty must not be positive; found {max_penalty}")
        self._ngram, self._largest = ngram_size, -max_penalty

    def __call__(self, completion_ids: Sequence[Sequence[int]], **_: Any) -> Rewards:
        """Return one penalty per completion."""
        texts = [" ".join(f"word{number}" for number in ids) for ids in completion_ids]
        values = [_value(_judged("shape.repetition", text, params={"ngram": self._ngram}), less=1.0) for text in texts]
        return [None if value is None else value * self._largest for value in values]


def get_repetition_penalty_reward(ngram_size: int, max_penalty: float) -> RepetitionPenalty:
    """Make the reward, with TRL's signature."""
    return RepetitionPenalty(ngram_size=ngram_size, max_penalty=max_penalty)


def accuracy_reward(completions: Completions, solution: Sequence[str], **_: Any) -> Rewards:
    """Compute `math.equivalent` unchanged."""
    return [
        _value(_judged("math.equivalent", completion[0]["content"], gold=gold))
        for completion, gold in zip(completions, solution, strict=True)
    ]


def reasoning_accuracy_reward(completions: Completions, solution: Sequence[str], **_: Any) -> Rewards:
    """Compute `math.equivalent`, which reads the text after the last `</think>`; it knows no other delimiters."""
    return accuracy_reward(completions, solution)


def get_cosine_scaled_reward(**_: Any) -> Callable[..., Rewards]:
    """Raise an error, because rlpost has no such reward: in a recipe, combine a weight on `shape.length` with a
    verifier.
    """
    raise NotImplementedError("left out: rlpost has no cosine-scaled reward")


def _judged(
    name: str, response: str, *, gold: Any = None, params: Mapping[str, Any] | None = None, token_count: int = 0
) -> Verdict:
    verifier = resolve(name)
    sample = Sample(id="trl", prompt="", response=response, gold=gold, token_count=token_count)
    return judge_guarded(verifier, sample, params=verifier.validated(params or {}))


def _value(verdict: Verdict, *, less: float = 0.0) -> float | None:
    return None if verdict.fault is Fault.GOLD or verdict.score is None else verdict.score - less
