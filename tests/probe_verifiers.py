"""Verifiers that do what their sample says, importable by worker processes."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rlpost.records import Fault, Mark, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier


@verifier(name="probe.same", version="3")
def same(sample: Sample, *, scale: float = 1.0, mode: str = "plain") -> float:
    return scale * (sample.response == sample.gold)


@verifier(name="probe.same_inline", version="1", isolation="inline", requires=("gold", "hint"))
def same_inline(sample: Sample) -> bool:
    return sample.response == sample.gold


@verifier(name="probe.obedient", version="1", timeout_s=1.0, memory_mib=512, requires=())
def obedient(sample: Sample) -> Verdict | float:
    command, _, argument = sample.response.partition(" ")
    match command:
        case "score":
            return float(argument)
        case "pid":
            return Verdict(score=1.0, parsed=str(os.getpid()))
        case "sleep":
            time.sleep(60)
        case "bignum":  # holds the interpreter lock in C: no thread and no signal handler runs any more
            return float(9 ** (9**9) > 0)
        case "math_verify":
            from math_verify import parse, verify

            power = parse(rf"$\boxed{{{argument}}}$", parsing_timeout=None)
            return float(verify(parse("$7$", parsing_timeout=None), power, timeout_seconds=None))
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "segfault":
            ctypes.string_at(0)
        case "os_exit":
            os._exit(3)
        case "sys_exit":
            sys.exit("leaving")
        case "memory":
            bytearray(4 * 2**30)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "killed_once":
            marker = Path(argument)
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return 1.0
        case "child":
            child = subprocess.Popen(["sleep", "300"])
            Path(argument).write_text(str(child.pid))
            time.sleep(60)
        case "raise":
            raise ValueError("cannot read this")
        case "bad_verdict":
            return Verdict(score=float("nan"))
        case "text":
            return "yes"  # type: ignore[return-value] - the point of the test
        case "print":
            print("not a reply")
            return 1.0
        case "gold_fault":
            return Verdict(fault=Fault.GOLD, reason="unreadable")
        case "long_text":
            return Verdict(score=1.0, parsed="\ud800x" * 10**6, reason="\n")
    return 0.0


@verifier(name="probe.failing", version="1", timeout_s=5.0, memory_mib=512, score_range=(-1.0, 1.0))
def failing(sample: Sample) -> float:
    """Fails in the way that the gold asks for, whatever the response is, or only for the response "hostile"."""
    command, _, argument = str(sample.gold).partition(" ")
    match command:
        case "os_error":
            raise OSError(getattr(errno, argument), os.strerror(getattr(errno, argument)))
        case "os_error_inside":
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError:
                raise ValueError("cannot keep this") from None
        case "no_thread":
            raise RuntimeError("can't start new thread")
        case "sys_exit":
            sys.exit(argument)
        case "type_error":
            return len(sample.gold - 1)
        case "hostile":
            if sample.response == "hostile":
                raise {"TypeError": TypeError, "RecursionError": RecursionError, "KeyError": KeyError}[argument]()
    return 1.0


@verifier(name="probe.stray", version="1", timeout_s=2.0, memory_mib=512, requires=())
def stray(sample: Sample) -> float:
    """Scores the number in the response, and lets its process write more than one reply in the way the gold names."""
    if sample.gold == "fork" and os.fork() == 0:
        return 0.25  # the child returns, as if it were the worker
    if sample.gold == "sockets":
        line = json.dumps({"score": 0.125, "fault": None, "batch": 0, "place": 0}).encode() + b"\n"
        for link in Path("/proc/self/fd").iterdir():
            if link.is_symlink() and str(link.readlink()).startswith("socket:"):
                os.write(int(link.name), line)
    if sample.gold == "daemon":
        _start_daemon(sample.prompt)
    if sample.gold == "standard":
        os.write(1, b'{"score": 0.125}\n')
        os.write(2, b'{"score": 0.125}\n')
    return float(sample.response)


def _start_daemon(note: str) -> None:
    """Start a process in a session of its own whose parent ends at once; it notes its id in a file."""
    program = (
        "import os, sys, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
        "open(sys.argv[1], 'w').write(str(os.getpid()))\ntime.sleep(300)"
    )
    subprocess.run([sys.executable, "-c", program, note], check=True, start_new_session=True)
    while not (Path(note).exists() and Path(note).read_text()):
        time.sleep(0.01)


@verifier(name="probe.without_library", version="1", cases=(Case(response="", gold="", expect="accept"),))
def without_library(sample: Sample) -> float:
    import a_library_that_is_not_there  # type: ignore[import-not-found] - the point of the test

    return a_library_that_is_not_there.score(sample)


@verifier(name="probe.fails_its_case", version="1", cases=(Case(response="a", gold="a", expect="accept"),))
def fails_its_case(sample: Sample) -> float:
    return 0.0


@verifier(name="probe.batch", version="1", per="batch", timeout_s=1.0, memory_mib=512, largest_batch=4, requires=())
def batch(samples: Sequence[Sample]) -> list[Verdict]:
    """Each verdict says how many were in the call, and does what `obedient` does."""
    return [replace(_obeyed(sample), parsed=str(len(samples))) for sample in samples]


@verifier(name="probe.group", version="1", per="group", timeout_s=1.0, memory_mib=512, requires=())
def group(samples: Sequence[Sample]) -> list[Verdict]:
    """Pays the longest answer of the group; obeys besides."""
    longest = max(len(sample.response) for sample in samples)
    said = " ".join(sample.response for sample in samples)
    for sample in samples:
        _obeyed(sample)
    return [Verdict(score=float(len(sample.response) == longest), parsed=said) for sample in samples]


@verifier(name="probe.group_inline", version="1", per="group", isolation="inline", requires=())
def group_inline(samples: Sequence[Sample]) -> list[Verdict]:
    texts = [sample.response for sample in samples]
    if (texts.count("bad") and len(texts) > 1) or texts == ["bad"]:
        raise ValueError("bad")
    if len(texts) > 1 and all(text == "only together" for text in texts):
        raise ValueError("together")
    return [Verdict(score=1.0 / len(texts)) for _ in texts]


@verifier(name="probe.random", version="1", isolation="inline", requires=(), deterministic=False)
def random_score(sample: Sample) -> Verdict:
    return Verdict(score=1.0, parsed=os.urandom(8).hex())


@verifier(name="probe.word", version="1", isolation="inline", requires=())
def word(sample: Sample, *, find: str = "a") -> Verdict:
    """1 when the word is in the response; the response may name a fault or an abstention for this word instead."""
    if f"{find}:gold" in sample.response:
        return Verdict(fault=Fault.GOLD, reason=f"no {find}")
    if f"{find}:infra" in sample.response:
        return Verdict(fault=Fault.INFRA, reason=f"{find} is down")
    if f"{find}:raise" in sample.response:
        raise ValueError(find)
    if f"{find}:na" in sample.response:
        return Verdict(score=0.0, marks=(Mark.NOT_APPLICABLE,), reason=f"{find} has no say")
    found = find in sample.response.split()
    return Verdict(score=float(found), parts={"length": float(len(sample.response))}, parsed=find if found else None)


@verifier(name="probe.counted", version="1", isolation="inline", requires=())
def counted(sample: Sample) -> float:
    ASKED.append(sample.response)
    return 0.5


ASKED: list[str] = []
"""The responses that `counted` saw."""


@verifier(name="probe.limits", version="1", requires=(), memory_mib=512)
def limits(sample: Sample) -> Verdict:
    names = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_CORE")
    held = {name: resource.getrlimit(getattr(resource, name)) for name in names}
    return Verdict(score=1.0, parsed=json.dumps(held | {"threads": os.environ["OMP_NUM_THREADS"]}))


def _obeyed(sample: Sample) -> Verdict:
    answer = obedient.function(sample)
    return answer if isinstance(answer, Verdict) else Verdict(score=answer)


@verifier(name="probe.judge", version="1", isolation="remote", largest_batch=3, requires=(), timeout_s=1.0)
async def judge(sample: Sample, *, endpoint: str = "") -> Verdict:
    import httpx

    if sample.response == "unreadable":
        raise ValueError("the service said something that is no verdict")
    async with httpx.AsyncClient() as client:
        answer = await client.post(endpoint, json={"response": sample.response})
        answer.raise_for_status()
    return Verdict(score=answer.json()["score"])


@verifier(name="probe.judge_group", version="1", isolation="remote", per="group", requires=(), timeout_s=1.0)
async def judge_group(samples: Sequence[Sample]) -> list[Verdict]:
    await asyncio.sleep(0)
    if any(sample.response == "bad" for sample in samples):
        raise ValueError("bad")
    return [Verdict(score=1.0, parsed=str(len(samples))) for _ in samples]


@verifier(name="probe.contained", version="1", isolation="sandbox", requires=())
def contained(sample: Sample) -> float:
    return 1.0
