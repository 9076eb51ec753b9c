"""All errors that rlpost raises for a user: one root class, picklable, each with an exit code.

A message says what must hold, what was found, and what to set. Bugs in rlpost itself raise assertions instead. Errors
cross process boundaries by pickle, so each class takes exactly one positional argument, its message.
"""

from __future__ import annotations

LONGEST_MESSAGE = 2000
"""Longest message about invalid input, in characters; about a screen."""


def shortened(text: str, *, most: int) -> str:
    """Cut a text to at most `most` characters; keep its beginning, and its last third, which says what to set."""
    if len(text) <= most:
        return text
    gap = " [...] "
    tail = most // 3
    return text[: most - tail - len(gap)] + gap + text[-tail:]


class RlpostError(Exception):
    """The root of all errors meant for a person. `exit_code` is the exit code of the command line."""

    exit_code = 1


class InputError(RlpostError, ValueError):
    """Invalid input. The message is cut to `LONGEST_MESSAGE`, because it quotes input of any length."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message, most=LONGEST_MESSAGE))


class RecipeError(InputError):
    """The recipe or the cluster file is wrong; detected before any actor starts."""


class DataError(InputError):
    """A data set is missing, empty, or has rows that cannot be used."""


class ModelError(InputError):
    """A model directory, tokenizer or chat template cannot be used."""


class RewardError(InputError):
    """A verifier does not exist, its parameters are wrong, or it breaks its contract."""


class PluginError(InputError):
    """An advantage, a loss or another plug-in that a recipe names does not exist, or breaks its contract."""


class SandboxError(RlpostError):
    """This machine cannot contain model-written programs, or the sandbox broke; nothing was run unprotected."""


class ClusterError(RlpostError):
    """The cluster cannot give what the run asks for, or a part of it died."""


class ArtifactError(RlpostError):
    """An artifact or checkpoint is incomplete, modified, or belongs to another recipe."""

    exit_code = 2


class UnavailableError(ClusterError):
    """The cluster does not answer, has no room, or lost parts of the run; the same command may succeed later."""

    exit_code = 69
    """EX_UNAVAILABLE."""


class ActorLostError(UnavailableError):
    """The process of an actor is gone, or does not answer; another actor can take over its work."""


class LearnerLostError(UnavailableError):
    """A learner rank is gone, and the current step is lost; all ranks must start again."""


class GateError(RlpostError):
    """A stage finished but its held-out score is below what the recipe requires."""

    exit_code = 3


class PreemptedError(RlpostError):
    """The run was asked to stop, and stopped at a point from which the same command continues."""

    exit_code = 75
    """EX_TEMPFAIL: the command should be tried again."""


class LedgerError(RlpostError):
    """A stage's ledger lacks an account of a prompt, or counts a prompt twice."""


class StorageError(RlpostError):
    """A run cannot write its files, for example because the disk is full."""


class TrainingError(RlpostError):
    """An optimizer step cannot be taken, for example because the loss is not finite."""


class NonFiniteError(TrainingError):
    """The loss of an optimizer step or its gradient is not finite; the weights are unchanged."""


class WeightSyncError(RlpostError):
    """A generator does not hold the weights that the learner published."""


class DamagedWeightsError(WeightSyncError):
    """Published weights differ from those that the learner wrote; they can be written again."""


class ParityError(RlpostError):
    """The generator's log-probabilities differ from the learner's by more than the tolerance."""


class DeadlineError(RlpostError, TimeoutError):
    """A wait across processes passed its deadline."""

    exit_code = UnavailableError.exit_code
    report: str | None = None
    """Path of the stall report, which shows all waits and the stacks of all processes; None if there is none."""

    def __str__(self) -> str:
        """The message, followed by the path of the report."""
        message = super().__str__()
        return message if self.report is None else f"{message}\nStall report: {self.report}"
