"""How the losses of single tokens become one number: the weight of each token, and the denominator of the sum.

| normalisation | weight of a token | denominator | known as |
|---|---|---|---|
| token | 1 | tokens of the step | DAPO (arXiv 2503.14476, section 3.3) |
| sequence | 1 / tokens of its row | rows of the step | GRPO (arXiv 2402.03300, equation 3) |
| sequence_sum | 1 | rows of the step | RLOO, REINFORCE on whole responses (arXiv 2402.14740, equation 6) |
| constant | 1 | rows of the step * max_tokens | Dr. GRPO (arXiv 2503.20783, section 3.2) |

AdamW does not see a constant factor of the gradient, and the limit of its norm does: `constant` is `sequence_sum`
divided by `max_tokens`, so a limit that acts on the one rarely acts on the other.
"""

from __future__ import annotations

from typing import Literal

Normalisation = Literal["token", "sequence", "sequence_sum", "constant"]


def row_weight(normalisation: Normalisation, length: int) -> float:
    """Return the loss weight of each token of a row that has `length` weighted tokens."""
    assert length > 0, f"a row needs at least one weighted token, found {length}"
    return 1 / length if normalisation == "sequence" else 1.0


def denominator(normalisation: Normalisation, *, token_count: int, row_count: int, max_tokens: int) -> float:
    """Return the denominator of the summed loss of one optimizer step.

    Args:
        normalisation: The way in which tokens are averaged.
        token_count: Number of weighted tokens of the step, over all ranks.
        row_count: Number of rows of the step with at least one weighted token, over all ranks.
        max_tokens: Longest response that may be sampled.
    """
    match normalisation:
        case "token":
            return float(token_count)
        case "sequence" | "sequence_sum":
            return float(row_count)
        case "constant":
            return float(row_count * max_tokens)
