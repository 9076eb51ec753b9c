from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flawed_verifiers as flawed

from rewards.math import equivalent
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Verifier
from rlpost.workbench.audit import AuditReport, AuditRow, audit
from rlpost.workbench.verifier_runner import VerifierRunner


def row(number: int, gold: Any, *, prompt: str | None = None, response: str = "", **meta: Any) -> AuditRow:
    question = f"question {number}" if prompt is None else prompt
    sample = Sample(id=f"rows/{number}", prompt=question, response=response, gold=gold, meta=meta)
    return AuditRow(sample=sample, group=question)


def audited(
    verifier: Verifier, rows: list[AuditRow], *, where: str | None = "last_boxed", others: int = 3
) -> AuditReport:
    with VerifierRunner(verifier, workers=1) as judge:

        def judged(samples: Sequence[Sample]) -> list[Verdict]:
            return judge(samples, params=verifier.validated({}))

        return audit(rows, judged, where=where, least=1.0, others=others, seed=0)


def test_a_data_set_that_fits_is_clean_and_all_of_it_was_asked() -> None:
    report = audited(equivalent, [row(number, str(number * 7)) for number in range(12)])
    assert report.clean
    assert (report.rows, report.asked, report.duplicates, report.equivalent) == (12, 12, 0, 0)
    assert report.crossed > 30


def test_golds_that_cannot_be_read_are_listed_with_the_reason() -> None:
    report = audited(equivalent, [row(1, "7"), row(2, "forty two?"), row(3, None), row(4, ["1"])])
    assert [bad.id for bad in report.unreadable] == ["rows/2", "rows/3", "rows/4"]
    assert "'forty two?' is not a number or an expression" in report.unreadable[0].reason
    assert report.unreadable[0].verifier == "math.equivalent@3"
    assert [bad.id for bad in report.quarantined] == ["rows/2", "rows/3", "rows/4"]
    assert not report.clean


def test_a_gold_that_is_not_paid_as_its_own_answer_is_listed() -> None:
    report = audited(equivalent, [row(1, "7"), row(2, "8", response=r"the answer is \boxed{9}")])
    assert [(bad.id, bad.gold) for bad in report.unpaid] == [("rows/2", "8")]
    assert report.unpaid[0].reason == "its own gold is not paid: another number"


def test_golds_of_one_prompt_that_differ_contradict_each_other_unless_they_are_equal_in_value() -> None:
    rows = [
        row(1, "7", prompt="same"),
        row(2, "8", prompt="same"),
        row(3, "0.5", prompt="half"),
        row(4, "1/2", prompt="half"),
    ]
    report = audited(equivalent, rows)
    assert [bad.id for bad in report.conflicting] == ["rows/1", "rows/2"]
    assert report.conflicting[0].reason == "row rows/2 has the same prompt and the gold '8'"


def test_rows_that_are_there_twice_are_counted_and_are_no_fault() -> None:
    report = audited(equivalent, [row(1, "7", prompt="same"), row(2, "7", prompt="same"), row(3, "9")])
    assert (report.duplicates, report.clean) == (1, True)


def test_a_verifier_that_pays_for_answers_to_other_rows_is_found_out() -> None:
    rows = [row(number, gold) for number, gold in enumerate(["Rome", "Paris", "Oslo", "Bonn", "Bern"])]
    report = audited(flawed.pays_for_rome, rows, others=5)
    assert {crossing.answer_of for crossing in report.crossings} == {"rows/0"}
    assert {crossing.answer for crossing in report.crossings} == {r"\boxed{Rome}"}
    assert (report.quarantined, report.clean) == ((), False)


def test_golds_that_are_one_answer_written_differently_are_counted_and_are_no_fault() -> None:
    rows = [row(1, "0.5"), row(2, "1/2"), *(row(number, str(number)) for number in range(3, 9))]
    report = audited(equivalent, rows, others=8)
    assert (report.equivalent, report.clean) == (1, True)


def test_a_reward_that_pays_everything_is_not_taken_for_equal_golds() -> None:
    rows = [row(number, str(number)) for number in range(4)]
    report = audit(rows, lambda samples: [Verdict(score=1.0)] * len(samples), where=None, least=1.0, others=4, seed=0)
    assert (report.equivalent, len(report.crossings)) == (0, report.crossed)
    assert report.crossed > 0


def test_without_a_known_place_the_gold_is_tried_bare_and_boxed() -> None:
    rows = [row(number, str(number * 7)) for number in range(4)]
    report = audited(equivalent, rows, where=None)
    assert report.clean and report.asked == 4


def test_a_solution_as_gold_is_given_bare_as_well() -> None:
    def judged(samples: Sequence[Sample]) -> list[Verdict]:
        return [Verdict(score=float(sample.response.endswith("#### 18"))) for sample in samples]

    report = audit([row(1, "She has 6.\n#### 18")], judged, where="auto", least=1.0, others=0, seed=0)
    assert report.clean


def test_a_service_that_is_missing_is_no_fault_of_the_rows() -> None:
    fault = Verdict(fault=Fault.INFRA, reason="nobody answers")
    report = audit([row(1, "7")], lambda samples: [fault] * len(samples), where=None, least=1.0, others=1, seed=0)
    assert ([bad.id for bad in report.broken], report.quarantined, report.clean) == (["rows/1"], (), False)


def test_golds_that_are_rules_are_only_read() -> None:
    report = audited(equivalent, [row(1, {"type": "object"}), row(2, "7")])
    assert (report.asked, [bad.id for bad in report.unreadable]) == (1, ["rows/1"])
