from __future__ import annotations

from collections.abc import Iterator

import pytest
from code_server import CodeServer, serving

from rewards.code_cases import STDIO_CASES
from rewards.code_remote import stdio_by_service
from rlpost.errors import RewardError
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import case_failure
from rlpost.scoring.executors import Executors
from rlpost.scoring.remote import Patience

GOLD = [{"input": "21\n", "output": "42"}, {"input": "1\n", "output": "2"}]
DOUBLE = "```python\nprint(int(input()) * 2)\n```"
QUICK = Patience(attempts=3, first_wait_s=0.01, longest_wait_s=0.02, give_up_after_s=30.0)


@pytest.fixture
def server() -> Iterator[CodeServer]:
    with serving() as running:
        yield running


def settings(server: CodeServer, protocol: str) -> dict[str, object]:
    return {"service": server.url, "protocol": protocol, "e2b_sandbox_url": f"{server.url}/{{sandbox}}"}


def judge(server: CodeServer, response: str, protocol: str = "sandbox_fusion", **params: object) -> Verdict:
    judges = Executors([stdio_by_service], workers=1, patience=QUICK)
    try:
        sample = Sample(id="s", prompt="", response=response, gold=params.pop("gold", GOLD))
        checked = stdio_by_service.validated(settings(server, protocol) | params)
        return judges.judge(stdio_by_service, [sample], params=checked, timeout_s=20.0)[0]
    finally:
        judges.close()


@pytest.mark.parametrize("case", STDIO_CASES, ids=lambda case: case.response[:40])
def test_the_cases_of_the_local_verifier_hold_with_a_service(server: CodeServer, case: object) -> None:
    from rlpost.scoring.authoring import Case

    assert isinstance(case, Case)
    verdict = judge(server, case.response, gold=case.gold, **case.params)
    assert case_failure(stdio_by_service, case, verdict=verdict) is None


def test_sandbox_fusion_gets_program_and_input_and_never_the_output(server: CodeServer) -> None:
    assert judge(server, DOUBLE).score == 1.0
    [(_, path, first, _), (_, _, second, _)] = server.asked
    assert path == "/run_code"
    assert first == {
        "code": "print(int(input()) * 2)",
        "language": "python",
        "stdin": "21\n",
        "run_timeout": 4.0,
        "memory_limit_MB": 512,
    }
    assert second["stdin"] == "1\n"
    assert "42" not in str([body for _, _, body, _ in server.asked])


def test_e2b_makes_a_sandbox_runs_in_it_and_removes_it(server: CodeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_E2B", "k")
    assert judge(server, DOUBLE, "e2b", api_key_env="KEY_OF_E2B").score == 1.0
    asked = [(method, path) for method, path, _, _ in server.asked]
    assert asked == [
        ("POST", "/sandboxes"),
        ("POST", "/box-1/execute"),
        ("POST", "/box-1/execute"),
        ("DELETE", "/sandboxes/box-1"),
    ]
    assert {headers.get("X-API-Key") or headers.get("x-api-key") for _, _, _, headers in server.asked} == {"k"}


@pytest.mark.parametrize("protocol", ["sandbox_fusion", "e2b"])
def test_a_wrong_program_gets_nothing(server: CodeServer, protocol: str) -> None:
    wrong = judge(server, "```python\nprint(int(input()) + 21)\n```", protocol)
    assert (wrong.score, wrong.fault, wrong.reason) == (0.0, None, "test 2: line 1 differs")


@pytest.mark.parametrize("protocol", ["sandbox_fusion", "e2b"])
@pytest.mark.parametrize(
    "failure",
    [
        (500, ""),
        (503, "busy"),
        (200, "no json"),
        (200, "[]"),
        (429, ""),
        (200, '{"status": "SandboxError", "message": "x"}'),
    ],
    ids=["500", "503", "prose", "list", "429", "sandbox-error"],
)
def test_a_service_that_fails_once_is_asked_again(server: CodeServer, protocol: str, failure: tuple[int, str]) -> None:
    server.fail_with = [failure]
    assert judge(server, DOUBLE, protocol).score == 1.0


@pytest.mark.parametrize("protocol", ["sandbox_fusion", "e2b"])
def test_a_service_that_goes_on_failing_is_an_infra_fault(server: CodeServer, protocol: str) -> None:
    server.fail_with = [(500, "")] * 9
    verdict = judge(server, DOUBLE, protocol)
    assert (verdict.fault, verdict.score) == (Fault.INFRA, None)
    assert len(server.asked) == QUICK.attempts


def test_a_service_that_is_not_there_is_an_infra_fault() -> None:
    with serving() as server:
        pass
    assert judge(server, DOUBLE).fault is Fault.INFRA


def test_a_sandbox_whose_cell_failed_is_removed_all_the_same(server: CodeServer) -> None:
    server.fail_with = [(201, '{"sandboxID": "box-1"}'), (500, "")]
    assert judge(server, DOUBLE, "e2b").score == 1.0
    assert [method for method, path, _, _ in server.asked if path == "/sandboxes/box-1"] == ["DELETE", "DELETE"]


def test_a_program_cannot_play_the_result_of_its_cell(server: CodeServer) -> None:
    forged = '```python\nprint(\'0\' * 32 + \'[0, "42", ""]\')\nprint(\'{"type": "stdout", "text": "42"}\')\n```'
    assert judge(server, forged, "e2b").score == 0.0


def test_a_gold_without_tests_is_a_gold_fault_and_asks_nobody(server: CodeServer) -> None:
    assert judge(server, DOUBLE, gold="x").fault is Fault.GOLD
    assert server.asked == []


def test_a_key_that_is_not_set_is_said_before_anything_is_sent(server: CodeServer) -> None:
    with pytest.raises(RewardError, match="KEY_THAT_IS_NOT_SET is not set"):
        judge(server, DOUBLE, api_key_env="KEY_THAT_IS_NOT_SET")
    assert server.asked == []


def test_a_service_must_be_named() -> None:
    with pytest.raises(RewardError, match="service"):
        stdio_by_service.validated({})
