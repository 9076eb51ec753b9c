from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import reasoning_gym

from rewards.reasoning_gym import EVALUATED_EXPRESSIONS, EVALUATED_LITERALS, _may_run_code, scored_by_task
from rlpost.records import Fault, Sample, Verdict

CHECKED = ("chain_sum", "basic_arithmetic", "gcd", "letter_counting", "spell_backward", "fraction_simplification")
# Without puzzle24, which pays for 24 made of any four numbers.
OWN_SCORING = (*CHECKED, *sorted(EVALUATED_LITERALS), *sorted(EVALUATED_EXPRESSIONS - {"puzzle24"}))


def judge(task: str, entry: dict[str, Any], response: str, **params: Any) -> Verdict:
    meta = {"reasoning_gym": {"task": task, "params": {}, "entry": entry}}
    sample = Sample(id="s", prompt="", response=response, meta=meta)
    return scored_by_task.judge(sample, params=scored_by_task.validated(params))


@pytest.mark.parametrize("task", OWN_SCORING)
def test_a_tasks_own_answer_gets_the_top_score_and_another_entrys_does_not(task: str) -> None:
    data_set = reasoning_gym.create_dataset(task, size=8, seed=3)
    first = data_set[0]
    other = next(entry for entry in data_set if entry["answer"] != first["answer"])
    answer = str(first["answer"])
    assert judge(task, first, answer, where="whole_text").score == 1.0
    assert judge(task, first, rf"because ... \boxed{{{answer}}}").score == 1.0
    assert (judge(task, first, str(other["answer"]), where="whole_text").score or 0.0) < 1.0


@pytest.mark.parametrize("task", sorted(EVALUATED_LITERALS | EVALUATED_EXPRESSIONS))
def test_the_guard_refuses_an_answer_of_the_task_itself_only_where_it_is_not_worked_out(task: str) -> None:
    for entry in reasoning_gym.create_dataset(task, size=100, seed=3):
        answer = str(entry["answer"])
        assert _may_run_code(task, answer) == ("Integral" in answer), answer


@pytest.mark.parametrize("task", sorted(EVALUATED_LITERALS | EVALUATED_EXPRESSIONS))
@pytest.mark.parametrize(
    "attack",
    [
        "open('{path}','w')",
        "__import__('os').system('touch {path}')",
        "[c for c in ().__class__.__base__.__subclasses__()]",
        "eval(open({path}))",
        "(lambda: open('{path}', 'w'))()",
        "sympify(1)",
    ],
)
def test_code_in_an_answer_is_not_run(task: str, attack: str, tmp_path: Path) -> None:
    marker = tmp_path / "written"
    entry = reasoning_gym.create_dataset(task, size=1, seed=3)[0]
    verdict = judge(task, entry, attack.format(path=marker), where="whole_text")
    assert (verdict.score, verdict.tags) == (0.0, ("refused",))
    assert not marker.exists()


def test_every_task_of_this_release_that_evaluates_its_answer_is_guarded() -> None:
    root = Path(reasoning_gym.__file__).parent
    found: set[str] = set()
    for source in root.rglob("*.py"):
        text = source.read_text()
        if any(
            call in text for call in ("eval(answer)", ".parse_expr(answer", " parse_expr(answer", "(parse_expr(answer")
        ):
            found.add(source.stem)
    assert found == EVALUATED_LITERALS | EVALUATED_EXPRESSIONS


@pytest.mark.parametrize(("task", "params"), [("no_such_task", {}), ("chain_sum", {"min_terms": 9, "max_terms": 2})])
def test_a_task_that_cannot_be_made_is_a_gold_fault(task: str, params: dict[str, Any]) -> None:
    meta = {"reasoning_gym": {"task": task, "params": params, "entry": {"question": "", "answer": "1", "metadata": {}}}}
    verdict = scored_by_task.judge(
        Sample(id="s", prompt="", response="1", meta=meta), params=scored_by_task.validated({})
    )
    assert (verdict.fault, verdict.score) == (Fault.GOLD, None)


def test_a_row_of_another_source_is_a_gold_fault() -> None:
    verdict = scored_by_task.judge(Sample(id="s", prompt="", response="1"), params={})
    assert verdict.fault is Fault.GOLD
