"""Every error that rlpost raises for a user: one root, picklable, each with an exit code.

A message says what must hold, what was found, and what to set. Bugs of rlpost itself are assertions, not these.
Errors cross process boundaries by pickle, so each class takes exactly one positional argument, its message.
"""

from __future__ import annotations

LONGEST_MESSAGE = 2000
"""Characters of a message about input; about a screen."""


def shortened(text: str, *, most: int) -> str:
    """At most `most` characters: the beginning, and the last third, where a message says what to set."""
    if len(text) <= most:
        return text
    gap = " [...] "
    tail = most // 3
    return text[: most - tail - len(gap)] + gap + text[-tail:]


class RlpostError(Exception):
    """Root of all errors meant for a person. `exit_code` is what the command line returns."""

    exit_code = 1


class InputError(RlpostError, ValueError):
    """What was given cannot be used. The message is cut to `LONGEST_MESSAGE`: what was found may be of any length."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message, most=LONGEST_MESSAGE))


class RecipeError(InputError):
    """The recipe or the cluster file is wrong; known before any actor starts."""


class DataError(InputError):
    """A data set is missing, empty, or has rows that cannot be used."""


class ModelError(InputError):
    """A model directory, tokenizer or chat template cannot be used."""


class RewardError(InputError):
    """A verifier does not exist, its parameters are wrong, or it breaks its contract."""


class SandboxError(RlpostError):
    """This machine cannot contain model-written programs, or the sandbox broke; nothing was run unprotected."""


class ClusterError(RlpostError):
    """The cluster cannot give what the run asks for, or a part of it died."""


class ArtifactError(RlpostError):
    """An artifact or checkpoint is incomplete, altered, or belongs to another recipe."""

    exit_code = 2


class UnavailableError(ClusterError):
    """The cluster does not answer, has no room, or lost parts of the run: the same command may go on another time."""

    exit_code = 69
    """EX_UNAVAILABLE."""


class ActorLostError(UnavailableError):
    """The process of an actor is gone, or says nothing; its work can be given to another."""


class LearnerLostError(UnavailableError):
    """A rank of the learner is gone, and with it the step under way; all ranks must start again."""


class GateError(RlpostError):
    """A stage finished but its held-out score is below what the recipe requires."""

    exit_code = 3


class PreemptedError(RlpostError):
    """The run was asked to stop, and did at a place from which the same command goes on."""

    exit_code = 75
    """EX_TEMPFAIL: to be tried again."""


class LedgerError(RlpostError):
    """A stage's ledger leaves a prompt unaccounted for, or counts one twice."""


class StorageError(RlpostError):
    """A run cannot write its files, for example because the disk is full."""


class TrainingError(RlpostError):
    """An optimizer step cannot be taken, for example because the loss is not finite."""


class NonFiniteError(TrainingError):
    """The loss of an optimizer step or its gradient is not a finite number; the weights are as they were."""


class WeightSyncError(RlpostError):
    """A generator does not hold the weights that the learner published."""


class DamagedWeightsError(WeightSyncError):
    """Published weights are not what the learner wrote; they can be written again."""


class ParityError(RlpostError):
    """The generator's log-probabilities differ from the learner's by more than the tolerance."""


class DeadlineError(RlpostError, TimeoutError):
    """A wait across processes passed its deadline."""

    exit_code = UnavailableError.exit_code
    report: str | None = None
    """Where it is written who waited for whom, and where everybody was."""

    def __str__(self) -> str:
        """The message, and where the report is."""
        message = super().__str__()
        return message if self.report is None else f"{message}\nStall report: {self.report}"
