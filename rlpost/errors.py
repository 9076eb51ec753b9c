"""Every error that rlpost raises for a user: one root, picklable, each with an exit code.

A message says what must hold, what was found, and what to set. Bugs of rlpost itself are assertions, not these.
Errors cross process boundaries by pickle, so each class takes exactly one positional argument, its message.
"""

from __future__ import annotations


class RlpostError(Exception):
    """Root of all errors meant for a person. `exit_code` is what the command line returns."""

    exit_code = 1


class RecipeError(RlpostError, ValueError):
    """The recipe or the cluster file is wrong; known before any actor starts."""

    exit_code = 2


class DataError(RlpostError, ValueError):
    """A data set is missing, empty, or has rows that cannot be used."""

    exit_code = 2


class ModelError(RlpostError, ValueError):
    """A model directory, tokenizer or chat template cannot be used."""

    exit_code = 2


class RewardError(RlpostError, ValueError):
    """A verifier does not exist, its parameters are wrong, or it breaks its contract."""

    exit_code = 2


class SandboxError(RlpostError):
    """This machine cannot contain programs of a model's making, or the sandbox broke; nothing was run unprotected."""


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


class StorageError(RlpostError):
    """A run cannot write its files, for example because the disk is full."""


class TrainingError(RlpostError):
    """An optimizer step cannot be taken, for example because the loss is not finite."""


class WeightSyncError(RlpostError):
    """A generator does not hold the weights that the learner published."""


class ParityError(RlpostError):
    """The generator's log-probabilities differ from the learner's by more than the tolerance."""


class DeadlineError(RlpostError, TimeoutError):
    """A wait across processes passed its deadline."""

    exit_code = UnavailableError.exit_code
