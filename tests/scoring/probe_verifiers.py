"""Verifiers that do what their sample says, importable by worker processes."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from rlpost.records import Fault, Sample, Verdict
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


@verifier(name="probe.without_library", version="1", cases=(Case(response="", gold="", expect="accept"),))
def without_library(sample: Sample) -> float:
    import a_library_that_is_not_there  # type: ignore[import-not-found] - the point of the test

    return a_library_that_is_not_there.score(sample)


@verifier(name="probe.fails_its_case", version="1", cases=(Case(response="a", gold="a", expect="accept"),))
def fails_its_case(sample: Sample) -> float:
    return 0.0
