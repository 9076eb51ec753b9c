"""One verdict from one verifier, in whatever process this runs: what an exception means is decided here."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rlpost.errors import RewardError
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Verifier


def judge_guarded(verifier: Verifier, sample: Sample, *, params: Mapping[str, Any]) -> Verdict:
    """The verdict with its version and milliseconds; an exception becomes a fault, never a low score without a name.

    A library that cannot be imported is an infra fault. Any other exception is a policy fault at the floor score: the
    text made the verifier fail, and must not gain by it.

    Raises:
        RewardError: the verifier broke its contract, which no text excuses.
        MemoryError: the process is at its limit and its heap is no longer to be trusted.
    """
    started = time.perf_counter()
    try:
        verdict = verifier.judge(sample, params=params)
    except (RewardError, MemoryError):
        raise
    except ImportError as error:
        verdict = Verdict(fault=Fault.INFRA, reason=f"{verifier.spec.name} cannot import what it needs: {error}")
    except Exception as error:
        if _raised_by_verdict(error):
            raise RewardError(f"{verifier.spec.name} made a verdict that cannot be: {error}") from error
        verdict = Verdict(fault=Fault.POLICY, reason=f"the verifier raised {type(error).__name__}: {error!s:.300}")
    milliseconds = (time.perf_counter() - started) * 1000
    return replace(at_floor(verdict, verifier), version=verifier.spec.stamp, milliseconds=milliseconds)


def at_floor(verdict: Verdict, verifier: Verifier) -> Verdict:
    """The same verdict; if it is a policy fault, with the floor score beside it."""
    return replace(verdict, score=verifier.spec.floor) if verdict.fault is Fault.POLICY else verdict


def _raised_by_verdict(error: Exception) -> bool:
    """Whether `Verdict` itself refused its values: then the author is wrong and not the text."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return frames[-1].f_code is Verdict.__post_init__.__code__
