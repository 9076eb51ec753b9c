"""The questions of an example, by which training examples that ask a held-out question are found."""

from __future__ import annotations

from rlpost.data.folded_text import folded
from rlpost.records import Example


def questions_of(example: Example) -> set[str]:
    """Return the questions that an example asks, at most two.

    A question is the text of all user turns, and also the source's wording if the recipe's `instruction` replaced it.
    Case, white space and Unicode form are removed. Raw documents (`Example.text`) have no question: this finds equal
    prompts, not quotations.
    """
    asked = "\n".join(message.text for message in example.messages if message.role == "user")
    return {one for text in (asked, example.source_wording) if (one := " ".join(folded(text).split()))}
