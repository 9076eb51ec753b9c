"""The losses of preference pairs: their names, usual settings, and what each of them reads.

`rlpost/losses/preference.py` computes them. This table is the only place that says which loss needs a reference model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

PairLoss = Literal["sigmoid", "sigmoid_norm", "robust", "hinge", "ipo", "apo_zero", "apo_down", "simpo", "orpo"]


class PairLossFacts(NamedTuple):
    """The facts about one loss of preference pairs."""

    words: str
    """Name and source, for people."""
    beta: float
    """Usual value of `beta`, from the source."""
    per_token: bool
    """Whether the score of an answer is a mean over its tokens, and not a sum."""
    has_reference: bool = True
    """Whether the score is a difference to the reference model's log-probabilities."""
    takes_smoothing: bool = False
    takes_margin: bool = False
    nll_weight: float = 0.0
    """Usual weight of the chosen answer's cross-entropy."""


PAIR_LOSSES: Mapping[PairLoss, PairLossFacts] = {
    "sigmoid": PairLossFacts("DPO (arXiv 2305.18290, equation 7)", 0.1, per_token=False, takes_smoothing=True),
    "sigmoid_norm": PairLossFacts(
        "length-normalised DPO (TULU 3, arXiv 2411.15124, equation 6)", 5.0, per_token=True, takes_smoothing=True
    ),
    "robust": PairLossFacts("robust DPO (arXiv 2403.00409, equation 9)", 0.1, per_token=False, takes_smoothing=True),
    "hinge": PairLossFacts("hinge loss on DPO's scores (SLiC, arXiv 2305.10425, equation 3)", 0.1, per_token=False),
    "ipo": PairLossFacts("IPO (arXiv 2310.12036, equation 17), with means over tokens", 0.1, per_token=True),
    "apo_zero": PairLossFacts("APO-zero (arXiv 2408.06266, equation 7)", 0.1, per_token=False),
    "apo_down": PairLossFacts("APO-down (arXiv 2408.06266, equation 8)", 0.1, per_token=False),
    "simpo": PairLossFacts(
        "SimPO (arXiv 2405.14734, equation 6)", 2.0, per_token=True, has_reference=False, takes_margin=True
    ),
    "orpo": PairLossFacts(
        "ORPO (arXiv 2403.07691, equation 6)", 0.1, per_token=True, has_reference=False, nll_weight=1.0
    ),
}
