"""Scores of reasoning-gym's own tasks, each by the task's `score_answer`.

Each task decides what it rewards. Known problem in release 0.1.25: `puzzle24` rewards 24 made from any four numbers,
not only from those in the question, so one constant answer solves all of its puzzles; do not train on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from rewards.extraction import OnMany, Where, final_answer
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

# These tasks pass the answer to Python's eval. If calls, attributes of attributes and quoted strings are excluded, only
# literals, names and arithmetic can be evaluated, and answers need no more. `Integral` is not among the names, so that
# the question itself, whose derivative is always right, is not an answer.
EVALUATED_LITERALS = frozenset({"string_insertion", "spiral_matrix", "binary_matrix", "n_queens"})
EVALUATED_EXPRESSIONS = frozenset(
    {"simple_integration", "intermediate_integration", "polynomial_multiplication", "puzzle24", "countdown"}
)
_EXPRESSION = re.compile(r"[\w\s+\-*/^().,=\u00d7\u00f7]*", re.ASCII)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_FUNCTION = re.compile(r"a?(?:sin|cos|tan)h?|sec|csc|cot|exp|log|ln|sqrt|pi")


def _chain_sum(response: str, **case: Any) -> Case:
    entry = {"question": "12 + 34 =", "answer": "46", "metadata": {}}
    return Case(response=response, meta={"reasoning_gym": {"task": "chain_sum", "params": {}, "entry": entry}}, **case)


def _countdown(response: str, **case: Any) -> Case:
    entry = {"question": "", "answer": "3*4+5", "metadata": {"numbers": [3, 4, 5], "target": 17}}
    return Case(response=response, meta={"reasoning_gym": {"task": "countdown", "params": {}, "entry": entry}}, **case)


CASES = (
    _chain_sum(r"2+4=6, 1+3=4, \boxed{46}", expect="accept"),
    _chain_sum("The answer is 46", expect="accept", note="no box: the final line"),
    _countdown(r"\boxed{5 + 4*3}", expect="accept", note="any solution of the puzzle"),
    _chain_sum(r"\boxed{45}", expect="reject", at_most=0.1),
    _chain_sum("", expect="reject"),
    _countdown(r"\boxed{3*5+4}", expect="reject", at_most=0.1),
    _chain_sum(r"\boxed{45} \boxed{46}", expect="adversarial", note="hedged"),
    _countdown(r"\boxed{17}", expect="adversarial", at_most=0.1, note="the target without the numbers"),
    _countdown(r"\boxed{__import__('os').getpid()}", expect="adversarial", note="code"),
    _countdown(r"\boxed{eval(3)+4+5}", expect="adversarial", note="code"),
)


@verifier(name="reasoning_gym", version="2", requires=("reasoning_gym",), memory_mib=1536, cases=CASES)
def scored_by_task(sample: Sample, *, where: Where = "auto", on_many: OnMany = "reject") -> Verdict:
    """The score that the task's `score_answer` gives the final answer; it may be partial.

    Args:
        sample: `meta["reasoning_gym"]` holds `task`, `params` and `entry` (question, answer, metadata), as filled in by
            the data source of that name.
        where: Place of the answer in the response; `whole_text` for tasks whose answer has several lines.
        on_many: Whether several different boxed answers are rejected or the last one counts.
    """
    row = cast("Mapping[str, Any]", sample.meta["reasoning_gym"])
    task, entry = cast("str", row["task"]), cast("dict[str, Any]", row["entry"])
    found = final_answer(sample.response, where=where, on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    if _may_run_code(task, found.text):
        return Verdict(score=0.0, parsed=found.text, reason="not a plain expression", tags=("refused",))
    try:
        data_set = _data_set(task, json.dumps(row["params"], sort_keys=True))
    except (TypeError, ValueError, AssertionError) as error:
        return Verdict(fault=Fault.GOLD, reason=f"reasoning-gym cannot make task {task!r}: {error}")
    score = float(data_set.score_answer(found.text, entry))
    return Verdict(score=score, parsed=found.text, reason=f"scored by {task}")


@lru_cache(maxsize=64)
def _data_set(task: str, params: str) -> Any:
    from reasoning_gym import create_dataset

    return create_dataset(task, **json.loads(params))


def _may_run_code(task: str, answer: str) -> bool:
    if task in EVALUATED_LITERALS:
        return "(" in answer or "__" in answer
    if task not in EVALUATED_EXPRESSIONS:
        return False
    names = _NAME.findall(answer)
    plain_names = all(len(name) == 1 or _FUNCTION.fullmatch(name) for name in names)
    return _EXPRESSION.fullmatch(answer) is None or re.search(r"\.\s*[A-Za-z_]", answer) is not None or not plain_names
