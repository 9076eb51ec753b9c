"""Verifiers that wait for a service: side by side, patient within bounds, no low score for a service's sake."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError

import httpx
import pytest
from hostile_judge import HostileJudge
from probe_verifiers import judge, judge_group

from rlpost.records import Fault, Mark, Sample, Verdict
from rlpost.scoring.remote import Patience, RemoteCalls, is_transport_failure

QUICK = Patience(attempts=4, first_wait_s=0.05, longest_wait_s=0.2, give_up_after_s=5.0)


@pytest.fixture
def service() -> Iterator[HostileJudge]:
    with HostileJudge().serving() as service:
        yield service


@pytest.fixture
def calls() -> Iterator[RemoteCalls]:
    calls = RemoteCalls(QUICK)
    yield calls
    calls.close()


def ask(calls: RemoteCalls, service: HostileJudge, *texts: str, timeout_s: float = 1.0) -> list[Verdict]:
    samples = [Sample(id=str(n), prompt="", response=text) for n, text in enumerate(texts)]
    return calls.judge(judge, samples, params={"endpoint": service.url}, timeout_s=timeout_s)


def test_verdicts_come_in_order_and_no_more_calls_run_at_once_than_declared(
    calls: RemoteCalls, service: HostileJudge
) -> None:
    verdicts = ask(calls, service, *["pause right", "pause"] * 6)
    assert [verdict.score for verdict in verdicts] == [1.0, 0.0] * 6
    assert service.most_at_once == 3
    assert {verdict.version for verdict in verdicts} == {"probe.judge@1"}
    assert all(verdict.milliseconds > 50 for verdict in verdicts)


def test_a_service_that_comes_back_costs_nobody_a_verdict(calls: RemoteCalls, service: HostileJudge) -> None:
    service.down_until = time.monotonic() + 0.2
    verdicts = ask(calls, service, "right", "wrong")
    assert [verdict.score for verdict in verdicts] == [1.0, 0.0]
    assert service.refused >= 2


def test_a_service_that_stays_down_is_an_infra_fault_after_a_bounded_number_of_calls(
    calls: RemoteCalls, service: HostileJudge
) -> None:
    service.down_until = time.monotonic() + 60
    [verdict] = ask(calls, service, "right")
    assert (verdict.fault, verdict.score) == (Fault.INFRA, None)
    assert "did not reach its service: HTTPStatusError" in verdict.reason and verdict.version == "probe.judge@1"
    assert len(service.asked) == QUICK.attempts


def test_a_service_that_nobody_runs_is_an_infra_fault(calls: RemoteCalls) -> None:
    sample = Sample(id="s", prompt="", response="right")
    [verdict] = calls.judge(judge, [sample], params={"endpoint": "http://127.0.0.1:9/"}, timeout_s=1.0)
    assert (verdict.fault, Mark.PERMANENT in verdict.marks) == (Fault.INFRA, False)


def test_a_slow_answer_is_an_infra_fault_and_the_others_are_judged(calls: RemoteCalls, service: HostileJudge) -> None:
    slow, right = ask(calls, service, "slow right", "right", timeout_s=0.3)
    assert (slow.fault, slow.score) == (Fault.INFRA, None)
    assert slow.reason == "probe.judge got no answer within 0.3 s"
    assert right.score == 1.0


def test_a_refused_key_is_not_asked_for_again_and_will_not_pass(calls: RemoteCalls, service: HostileJudge) -> None:
    [verdict] = ask(calls, service, "unauthorised")
    assert (verdict.fault, verdict.marks) == (Fault.INFRA, (Mark.PERMANENT,))
    assert len(service.asked) == 1


def test_what_the_verifier_itself_raises_is_the_policys_fault_and_not_tried_again(
    calls: RemoteCalls, service: HostileJudge
) -> None:
    unreadable, right = ask(calls, service, "unreadable", "right")
    assert (unreadable.fault, unreadable.score) == (Fault.POLICY, 0.0)
    assert "raised ValueError" in unreadable.reason
    assert right.score == 1.0


def test_once_nothing_has_answered_for_long_enough_the_rest_is_not_asked(service: HostileJudge) -> None:
    calls = RemoteCalls(Patience(attempts=2, first_wait_s=0.01, longest_wait_s=0.01, give_up_after_s=0.5))
    service.down_until = time.monotonic() + 60
    started = time.monotonic()
    verdicts = ask(calls, service, *["slow"] * 40, timeout_s=0.4)
    calls.close()
    assert {verdict.fault for verdict in verdicts} == {Fault.INFRA}
    assert time.monotonic() - started < 4.0, "forty deadlines of 0.4 s, three at a time, would be 5 s and more"
    assert any(verdict.reason.startswith("not asked: probe.judge got no answer") for verdict in verdicts)


def test_a_group_is_one_call_and_who_breaks_it_is_left_out(calls: RemoteCalls) -> None:
    samples = [Sample(id=text, prompt="", response=text, group="g") for text in ("a", "bad", "c")]
    verdicts = calls.judge(judge_group, samples, params={}, timeout_s=1.0)
    assert [(verdict.fault, verdict.score) for verdict in verdicts] == [(None, 1.0), (Fault.POLICY, 0.0), (None, 1.0)]
    assert verdicts[0].parsed == "2"


def test_closing_ends_the_calls_under_way(calls: RemoteCalls, service: HostileJudge) -> None:
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            ask(calls, service, "slow", timeout_s=30.0)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.2)
    calls.close()
    thread.join(5)
    assert [type(error) for error in ended] == [CancelledError]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ReadTimeout("slow"), True),
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (EOFError(), True),
        (ValueError("no JSON"), False),
        (KeyError("choices"), False),
    ],
)
def test_what_speaks_of_the_way_to_a_service(error: Exception, expected: bool) -> None:
    assert is_transport_failure(error) is expected


def test_errors_of_the_openai_client_are_those_of_a_service() -> None:
    openai = pytest.importorskip("openai")
    request = httpx.Request("POST", "http://127.0.0.1/")
    assert is_transport_failure(openai.APIConnectionError(request=request))
    assert is_transport_failure(openai.RateLimitError("busy", response=httpx.Response(429, request=request), body=None))
