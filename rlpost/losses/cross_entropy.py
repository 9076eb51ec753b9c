"""Next-token cross-entropy, the loss of CPT and SFT."""

from __future__ import annotations

from dataclasses import dataclass

from rlpost.interfaces import LossInputs, LossSums


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossEntropy:
    """The loss `sum_t -weight_t * log pi(token_t)`.

    With weights of 1 and the number of weighted tokens as the denominator, this is one mean over all tokens of the
    step, so that a token counts the same in a short row as in a long one (TULU 3, arXiv 2411.15124, section 4.3.2,
    discusses means of means).
    """

    @property
    def columns(self) -> frozenset[str]:
        """See `interfaces.LossFn`; this loss needs only log-probabilities and weights."""
        return frozenset()

    def __call__(self, inputs: LossInputs, /) -> LossSums:
        """Return the weighted negative log-likelihood of one micro-batch."""
        return LossSums(total=-(inputs.weights_T * inputs.logprobs_T).sum(), means={}, maxima={})
