"""One call of one verifier in the current process, with every exception turned into a fault or a contract error."""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlpost.errors import RewardError
from rlpost.records import Fault, Mark, Sample, Verdict
from rlpost.scoring.authoring import Verifier

_MACHINE_ERRORS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO, errno.EROFS)
)
"""Error numbers with which the system says that it has no more of something, or that a device failed."""
_MISTAKES = (TypeError, AttributeError, NameError, NotImplementedError)
"""Exceptions that a mistake in code raises; a library may raise them for a text that it cannot read, too."""


def judge_guarded(verifier: Verifier, sample: Sample, *, params: Mapping[str, Any]) -> Verdict:
    """Judge this sample alone. See `call_guarded`."""
    answer = call_guarded(verifier, [sample], params=params)
    return answer if isinstance(answer, Verdict) else answer[0]


def call_guarded(
    verifier: Verifier, samples: Sequence[Sample], *, params: Mapping[str, Any]
) -> list[Verdict] | Verdict:
    """Return one verdict per sample, with version and share of the time; or the one fault in which the call ended.

    An exception becomes a fault, never an unexplained low score. It is an infra fault if the machine failed, a library
    cannot be imported, the verifier called `sys.exit`, or a mistake in the verifier's code shows with empty responses
    too. Any other exception is a policy fault at the floor score: the text made the verifier fail, and must not gain
    by that.

    Raises:
        RewardError: the verifier broke its contract, whatever the text was.
        MemoryError: the process has reached its memory limit, and its heap can no longer be trusted.
    """
    started = time.perf_counter()
    try:
        answer = verifier.judge_together(samples, params=params)
    except (RewardError, MemoryError):
        raise
    except SystemExit as error:
        reason = f"{verifier.spec.name} called sys.exit({error.code!r:.100}): a verifier must return a verdict"
        answer = Verdict(fault=Fault.INFRA, reason=reason)
    except Exception as error:
        answer = verdict_of(error, verifier)
        if isinstance(error, _MISTAKES) and _raises_without_text(verifier, samples, params=params, kind=type(error)):
            reason = f"{verifier.spec.name} raises {type(error).__name__} for an empty response too: {error!s:.300}"
            answer = Verdict(fault=Fault.INFRA, reason=reason)
    milliseconds = (time.perf_counter() - started) * 1000 / len(samples)
    return stamped(answer, verifier, milliseconds=milliseconds)


def verdict_of(error: Exception, verifier: Verifier) -> Verdict:
    """Return the fault that stands for an exception raised by a verifier.

    Raises:
        RewardError: the verifier broke its contract.
    """
    if isinstance(error, ImportError):
        reason = f"{verifier.spec.name} cannot import what it needs: {error}"
        return Verdict(fault=Fault.INFRA, reason=reason, marks=(Mark.PERMANENT,))
    if _is_machine_failure(error):
        reason = f"the machine failed {verifier.spec.name}: {type(error).__name__}: {error!s:.300}"
        return Verdict(fault=Fault.INFRA, reason=reason)
    if _raised_by_verdict(error):
        raise RewardError(f"{verifier.spec.name} returned an invalid verdict: {error}") from error
    return Verdict(fault=Fault.POLICY, reason=f"the verifier raised {type(error).__name__}: {error!s:.300}")


def stamped(answer: list[Verdict] | Verdict, verifier: Verifier, *, milliseconds: float) -> list[Verdict] | Verdict:
    """Add the verifier's version, the elapsed time, and for a policy fault the floor score."""
    if isinstance(answer, Verdict):
        return replace(at_floor(answer, verifier), version=verifier.spec.stamp, milliseconds=milliseconds)
    stamp = verifier.spec.stamp
    return [replace(at_floor(verdict, verifier), version=stamp, milliseconds=milliseconds) for verdict in answer]


def at_floor(verdict: Verdict, verifier: Verifier) -> Verdict:
    """Return the same verdict, with the floor score beside it if it is a policy fault."""
    return replace(verdict, score=verifier.spec.floor) if verdict.fault is Fault.POLICY else verdict


def _is_machine_failure(error: BaseException | None) -> bool:
    """Whether the exception, or one that led to it, reports a failure of the machine."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _MACHINE_ERRORS:
            return True
        if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
            return True
        error = error.__cause__ or error.__context__
    return False


def _raises_without_text(
    verifier: Verifier, samples: Sequence[Sample], *, params: Mapping[str, Any], kind: type[Exception]
) -> bool:
    """Whether empty responses raise the same kind of exception, so that the given text is not what caused it."""
    try:
        verifier.judge_together([replace(sample, response="") for sample in samples], params=params)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:
        return type(error) is kind
    return False


def _raised_by_verdict(error: Exception) -> bool:
    """Whether `Verdict` itself refused its values, which is a mistake in the verifier and not in the text."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_code is Verdict.__post_init__.__code__
