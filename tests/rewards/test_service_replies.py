"""A reply that is too large, too deep or indiscreet is the failure of its service, and reveals no key."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from typing import Any

import pytest
from judge_server import JudgeServer, Reply

from rewards.code_remote import stdio_by_service
from rewards.judge import rubric
from rewards.model import reward
from rewards.service_replies import LARGEST_REPLY, bounded
from rlpost.records import Fault, Mark, Sample, Verdict
from rlpost.scoring.authoring import Verifier
from rlpost.scoring.remote import Patience, RemoteCalls

ONCE = Patience(attempts=1, first_wait_s=0.01, longest_wait_s=0.01, give_up_after_s=1.0)
KEY = "sk-3f9a1c77e2d84b"
GOLDS: dict[str, Any] = {
    "judge.rubric": [{"criterion": "c", "points": 1}],
    "code.stdio_by_service": [{"input": "", "output": "1"}],
}


def verdict_on(verifier: Verifier, reply: Reply, **params: Any) -> Verdict:
    name = verifier.spec.name
    response = "```python\nprint(1)\n```" if name.startswith("code") else "Paris"
    calls = RemoteCalls(ONCE)
    with JudgeServer(lambda _: reply, key=KEY if params else "none") as server:
        where = {"service": server.root} if name.startswith("code") else server.params
        sample = Sample(id="s", prompt="q", response=response, gold=GOLDS.get(name))
        try:
            return calls.judge(verifier, [sample], params=verifier.validated(where | params), timeout_s=20.0)[0]
        finally:
            calls.close()
            server.problems.clear()


@pytest.mark.parametrize("verifier", [rubric, reward, stdio_by_service], ids=lambda one: one.spec.name)
@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"[" * 200_000),
        Reply(b"[" * 900 + b"]" * 900),
        Reply(gzip.compress(b" " * 2**26), headers={"Content-Encoding": "gzip"}),
        Reply(b" " * (LARGEST_REPLY + 1)),
    ],
    ids=["open brackets", "deep", "gzip", "large"],
)
def test_a_reply_that_is_too_deep_or_too_large_is_an_infra_fault(verifier: Verifier, reply: Reply) -> None:
    verdict = verdict_on(verifier, reply)
    assert (verdict.fault, verdict.score) == (Fault.INFRA, None), verdict.reason
    assert Mark.PERMANENT not in verdict.marks


def test_a_reply_is_read_up_to_the_limit_and_is_not_decompressed() -> None:
    httpx = pytest.importorskip("httpx")

    async def read(reply: Reply) -> int:
        with JudgeServer(lambda _: reply) as server:
            async with httpx.AsyncClient(**bounded(1000)) as client:
                got = await client.post(f"{server.root}/x", json={}, headers={"Authorization": "Bearer none"})
                return len(got.content)

    assert asyncio.run(read(Reply(b"x" * 1000))) == 1000
    with pytest.raises(ConnectionError, match="at most 1000 bytes"):
        asyncio.run(read(Reply(b"x" * 1001)))
    bomb = Reply(gzip.compress(b" " * 2**26), headers={"Content-Encoding": "gzip"})
    tracemalloc.start()
    with pytest.raises(ConnectionError, match="must not compress"):
        asyncio.run(read(bomb))
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


@pytest.mark.parametrize("verifier", [rubric, reward, stdio_by_service], ids=lambda one: one.spec.name)
@pytest.mark.parametrize("padding", [0, 150, 180, 190])
@pytest.mark.parametrize("status", [200, 500])
def test_a_key_that_a_service_echoes_is_not_in_the_verdict(
    monkeypatch: pytest.MonkeyPatch, verifier: Verifier, padding: int, status: int
) -> None:
    monkeypatch.setenv("SERVICE_KEY", KEY)
    echoed = {"p": "x" * padding, "headers": {"Authorization": f"Bearer {KEY}"}}
    reply = Reply(json.dumps({"error": {"message": json.dumps(echoed)}} if status == 500 else echoed).encode(), status)
    verdict = verdict_on(verifier, reply, api_key_env="SERVICE_KEY")
    assert verdict.fault is Fault.INFRA
    assert KEY[:6] not in verdict.reason
