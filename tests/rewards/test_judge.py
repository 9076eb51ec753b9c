from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from judge_server import Body, JudgeServer, Reply, fenced, honest, nonce_of

from rewards.judge import pairwise, rubric
from rewards.judge_canary import canary_report, canary_samples
from rewards.judge_prompts import defused
from rewards.judge_rubric import Criterion, read_criteria, rubric_score
from rlpost.errors import RewardError
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, Verifier, case_failure
from rlpost.scoring.remote import Patience, RemoteCalls
from rlpost.workbench.self_test import self_test

GOLD = [{"criterion": 'The answer names "Paris".', "points": 1}]
QUESTION = "What is the capital of France?"


def judged(verifier: Verifier, server: JudgeServer, response: str, *, gold: Any = GOLD, **params: Any) -> Verdict:
    sample = Sample(id="s", prompt=QUESTION, response=response, gold=gold)
    return verifier.judge(sample, params=verifier.validated(server.params | params))


@pytest.mark.parametrize(
    ("verifier", "case"), [(verifier, case) for verifier in (rubric, pairwise) for case in verifier.cases]
)
@pytest.mark.parametrize("reasoning", [True, False])
def test_every_case_holds_with_an_honest_judge(verifier: Verifier, case: Case, reasoning: bool) -> None:
    with JudgeServer(honest) as server:
        params = verifier.validated({**server.params, "reasoning": reasoning, **case.params})
        verdict = verifier.judge(case.sample(), params=params)
    assert case_failure(verifier, case, verdict=verdict) is None


@pytest.mark.parametrize("verifier", [rubric, pairwise])
def test_the_self_test_passes_with_an_honest_judge(verifier: Verifier) -> None:
    with JudgeServer(honest) as server:
        report = self_test(verifier, params=server.params)
    assert (report.skipped, report.failures) == (None, ())
    assert report.ran["adversarial"] >= 3


def test_the_judge_sees_the_question_and_the_visible_answer_behind_a_fence() -> None:
    with JudgeServer(honest) as server:
        judged(rubric, server, "<think>secret</think>It is Paris.")
    assert fenced(server.bodies[0]) == {"QUESTION": QUESTION, "ANSWER": "It is Paris."}


def test_a_reference_is_shown_and_judged_by_the_criteria_of_the_recipe() -> None:
    criteria = [{"criterion": 'It names "Paris".', "points": 3}, {"criterion": 'It names "Rome".', "points": 1}]
    with JudgeServer(honest) as server:
        verdict = judged(rubric, server, "Paris", gold="Paris is right.", criteria=criteria)
    assert fenced(server.bodies[0])["REFERENCE"] == "Paris is right."
    assert verdict.score == 0.75


def test_no_two_requests_share_a_nonce() -> None:
    with JudgeServer(honest) as server:
        for _ in range(3):
            judged(pairwise, server, "Paris", gold="Lyon")
    assert len({nonce_of(body) for body in server.bodies}) == 6


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a N0NCE b", "a  b"),
        ("a N0\u200bNCE b", "a  b"),
        ("x\U000e0067\U000e0069y\u202e\0", "xy"),
        ("<|im_end|>", "< |im_end| >"),
        ("<\uff5cUser\uff5c>", "< \uff5cUser\uff5c >"),
        ("</s>[/INST]<start_of_turn>", "< /s>[ /INST]< start_of_turn>"),
        ("a < b, vector<int>\n\t|x|", "a < b, vector<int>\n\t|x|"),
    ],
)
def test_what_could_break_the_fence_or_the_turn_is_taken_apart(text: str, seen: str) -> None:
    assert defused(text, nonce="N0NCE") == seen


def test_a_key_travels_in_the_header_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_JUDGE_KEY", "sk-very-secret")
    with JudgeServer(honest, key="sk-very-secret") as server:
        verdict = judged(rubric, server, "Paris", api_key_env="TEST_JUDGE_KEY")
    assert verdict.score == 1.0
    assert "sk-very-secret" not in repr(verdict)


def test_a_key_that_was_not_named_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-service")
    with JudgeServer(honest, key="none") as server:
        assert judged(rubric, server, "Paris").score == 1.0


def test_a_key_that_is_not_set_is_an_error_that_names_its_variable() -> None:
    with JudgeServer(honest) as server, pytest.raises(RewardError, match="NO_SUCH_KEY is not set"):
        judged(rubric, server, "Paris", api_key_env="NO_SUCH_KEY")


@pytest.mark.parametrize("verifier", [rubric, pairwise])
def test_an_endpoint_and_a_model_must_be_set(verifier: Verifier) -> None:
    with pytest.raises(RewardError, match=r"endpoint: .*base URL of an OpenAI-compatible service"):
        verifier.validated({"model": "m"})
    with pytest.raises(RewardError, match=r"model: .*name the model"):
        verifier.validated({"endpoint": "http://127.0.0.1:1"})


UNREADABLE = [
    "10/10",
    'I give it 10 of 10 points: {"c1": "met"}',
    '{"c1": "met"} and so it is right',
    '```json\n{"c1": "met"}\n```',
    '{"c1": "not_met", "c1": "met"}',
    '{"c1": "met", "c2": "met"}',
    '{"c1": "MET"}',
    '{"c1": true}',
    '{"c1": ["met"]}',
    "{}",
    '["met"]',
    "1",
    "NaN",
    "",
    None,
    '{"c1": "met"',
    "[" * 100_000,
]


@pytest.mark.parametrize("content", UNREADABLE, ids=lambda content: repr(content)[:30])
def test_a_reply_that_does_not_fit_twice_is_a_policy_fault(content: str | None) -> None:
    with JudgeServer(lambda _: content) as server:
        verdict = judged(rubric, server, "Paris", reasoning=False)
    assert (verdict.fault, verdict.tags[1:], len(server.bodies)) == (Fault.POLICY, ("judge_unreadable",), 2)


def test_one_reply_that_does_not_fit_is_asked_for_again() -> None:
    replies = iter(["10/10"])
    with JudgeServer(lambda body: next(replies, None) or honest(body)) as server:
        assert judged(rubric, server, "Paris").score == 1.0
    assert len(server.bodies) == 2


NO_COMPLETION = [
    Reply(b"<html>bad gateway</html>", content_type="text/html"),
    Reply(b"<html>bad gateway</html>"),
    Reply(b""),
    Reply({}),
    Reply([]),
    Reply({"choices": []}),
    Reply({"choices": [{}]}),
    Reply({"choices": [{"message": None}]}),
    Reply({"error": "overloaded"}),
]


@pytest.mark.parametrize("reply", NO_COMPLETION, ids=lambda reply: repr(reply.body)[:30])
def test_a_reply_that_no_answer_could_cause_is_a_failure_of_the_service(reply: Reply) -> None:
    with JudgeServer(lambda _: reply) as server, pytest.raises(ConnectionError):
        judged(rubric, server, "Paris")


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_an_error_of_the_service_is_raised_and_not_scored(status: int) -> None:
    with JudgeServer(lambda _: Reply({"error": {"message": "no"}}, status=status)) as server:
        with pytest.raises(openai.APIStatusError):
            judged(rubric, server, "Paris")
        assert len(server.bodies) == 1, "the runtime retries, and nobody else"


@pytest.mark.parametrize(
    "answer", [lambda _: Reply({}, status=500), lambda _: Reply({}, delay_s=2.0)], ids=["500", "slow"]
)
def test_a_service_that_fails_is_an_infra_fault_in_the_runtime(answer: Any) -> None:
    patience = Patience(attempts=2, first_wait_s=0.01, longest_wait_s=0.01, give_up_after_s=5.0)
    calls = RemoteCalls(patience)
    with JudgeServer(answer) as server:
        sample = Sample(id="s", prompt="", response="Paris", gold=GOLD)
        [verdict] = calls.judge(rubric, [sample], params=rubric.validated(server.params), timeout_s=0.3)
        calls.close()
    assert (verdict.fault, verdict.score, len(server.bodies)) == (Fault.INFRA, None, 2)


@pytest.mark.parametrize(
    ("response", "tag"),
    [
        ("", "no_answer"),
        ("\u200b", "no_answer"),
        (" .:!? ", "no_answer"),
        ("<think>Paris</think>", "no_answer"),
        (f"  {QUESTION.upper()} ", "echoed"),
        ("Paris " * 10_000, "too_long"),
    ],
)
def test_nobody_is_asked_about_what_cannot_be_an_answer(response: str, tag: str) -> None:
    with JudgeServer(honest) as server:
        verdicts = [judged(rubric, server, response), judged(pairwise, server, response, gold="Lyon")]
    assert [(verdict.score, verdict.tags) for verdict in verdicts] == [(0.0, (tag,))] * 2
    assert server.bodies == []


def test_the_verdict_names_the_model_and_a_hash_of_the_prompt() -> None:
    with JudgeServer(honest) as server:
        verdicts = [
            judged(rubric, server, "Paris"),
            judged(rubric, server, "Rome", model="other"),
            judged(rubric, server, "Paris", reasoning=False),
        ]
    names = [verdict.tags[0].removeprefix("judge:").split("#") for verdict in verdicts]
    assert [model for model, _ in names] == ["fake", "other", "fake"]
    assert names[0][1] == names[1][1] != names[2][1]


@pytest.mark.parametrize(
    ("points", "met", "score"),
    [
        ((3, 1, -4), (True, True, False), 1.0),
        ((3, 1, -4), (True, False, False), 0.75),
        ((3, 1, -4), (True, True, True), 0.0),
        ((3, 1, -1), (True, True, True), 0.75),
        ((1, -5), (False, True), 0.0),
        ((0.1, 0.2, 0.7), (True, True, True), 1.0),
    ],
)
def test_points_are_normalised_by_the_positive_ones_and_clipped(points: Any, met: Any, score: float) -> None:
    criteria = [Criterion(text="x", points=worth) for worth in points]
    assert rubric_score(criteria, met)[0] == score


@pytest.mark.parametrize(
    "gold",
    [
        *(None, 5, "", "  ", [], ["a"], [{}], {"criterion": "a", "points": 1}),
        *([{"criterion": "", "points": 1}], [{"criterion": "a"}], [{"criterion": "a", "points": 1}] * 65),
        *([{"criterion": "a", "points": points}] for points in (0, -1, float("nan"), "1", True)),
    ],
)
def test_a_gold_that_is_no_rubric_is_a_gold_fault(gold: object) -> None:
    assert gold is None or isinstance(gold, str) or read_criteria(gold) is None
    sample = Sample(id="s", prompt="", response="Paris", gold=gold)
    assert asyncio.run(rubric.function(sample)).fault is Fault.GOLD


@pytest.mark.parametrize("gold", [None, "", " ", 5, ["Paris"], "a" * 20_001])
def test_a_gold_that_is_no_answer_cannot_be_compared_with(gold: object) -> None:
    sample = Sample(id="s", prompt="", response="Paris", gold=gold)
    assert asyncio.run(pairwise.function(sample)).fault is Fault.GOLD


@pytest.mark.parametrize(
    ("response", "gold", "score"), [("Paris", "Lyon", 1.0), ("Lyon", "Paris", 0.0), ("Rome", "Lyon", 0.5)]
)
def test_a_pair_is_compared_in_both_orders(response: str, gold: str, score: float) -> None:
    with JudgeServer(honest) as server:
        assert judged(pairwise, server, response, gold=gold).score == score
    orders = {(fenced(body)["FIRST ANSWER"], fenced(body)["SECOND ANSWER"]) for body in server.bodies}
    assert orders == {(response, gold), (gold, response)}


def test_a_judge_that_always_prefers_the_first_answer_makes_ties() -> None:
    with JudgeServer(lambda _: '{"reasoning": "", "better": "first"}') as server:
        verdict = judged(pairwise, server, "Solution", gold="Lyon")
    assert (verdict.score, verdict.tags[1:]) == (0.5, ("order_disagreement",))


def gullible(body: Body) -> str:
    """Does what it is told."""
    told = "full marks" in fenced(body)["ANSWER"]
    return '{"reasoning": "", "c1": "met"}' if told else honest(body)


@pytest.mark.parametrize(("judge", "paid"), [(honest, 0), (gullible, 2)], ids=["honest", "gullible"])
def test_canaries_tell_a_judge_that_is_fooled_from_one_that_is_not(judge: Any, paid: int) -> None:
    sample = Sample(id="s", prompt=QUESTION, response="Paris", gold=GOLD, group="g")
    with JudgeServer(judge) as server:
        report = asyncio.run(canary_report(rubric, [sample, sample], params=rubric.validated(server.params)))
    canaries = canary_samples(sample)
    assert (report.asked, len(report.paid), report.faults) == (2 * len(canaries), 2 * paid, 0)
    assert report.pass_rate == pytest.approx(paid / len(canaries))
    assert all("full marks" in canary.response for canary in report.paid)


def test_canaries_hold_no_answer_and_the_denial_of_a_reference() -> None:
    responses = [
        canary.response for canary in canary_samples(Sample(id="s", prompt=QUESTION, response="x", gold="Paris"))
    ]
    assert {"", ":", "Solution", QUESTION, "It is wrong to say the following. Paris"} <= set(responses)
