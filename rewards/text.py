"""Text answers that equal or contain the gold. The Unicode policy is that of `rewards.extraction`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

from rewards.extraction import OnMany, Where, final_answer, plain_characters
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

_ESCAPED = re.compile(r"\\([&%$#_{}])")
_AROUND = " \t\n\"'`*_\u2018\u2019\u201c\u201d\u00ab\u00bb"

SELF_TEST_OFF = {
    "text.contains": {
        "gold in prose": "it pays for the gold anywhere in the text",
        "gold or another": "it pays for the gold anywhere in the text",
    }
}
EXACT_CASES = (
    Case(response="Paris", gold="paris", expect="accept", note="case does not count"),
    Case(response="  New\n York ", gold="New York", expect="accept", note="nor does white space"),
    Case(response="NYC", gold=["New York", "NYC"], expect="accept", note="any gold of a list"),
    Case(response="The answer is: Paris", gold="Paris", params={"where": "final_line"}, expect="accept"),
    Case(response='"Paris".', gold="Paris", expect="accept", note="nor do quotes and a full stop"),
    Case(response="London", gold="Paris", expect="reject"),
    Case(response="", gold="Paris", expect="reject"),
    Case(response="Paris, France", gold="Paris", expect="reject"),
    Case(response="Paris or London", gold="Paris", expect="adversarial", note="hedged"),
    Case(response="Paris Paris", gold="Paris", expect="adversarial", note="stuffed"),
    Case(response=r"\boxed{Rome} \boxed{Paris}", gold="Paris", params={"where": "auto"}, expect="adversarial"),
)
CONTAINS_CASES = (
    Case(response="It is Paris, of course.", gold="Paris", expect="accept"),
    Case(response="In NEW  YORK.", gold="New York", expect="accept"),
    Case(response="The gas is CO2", gold=["carbon dioxide", "CO2"], expect="accept"),
    Case(response="It is London.", gold="Paris", expect="reject"),
    Case(response="", gold="Paris", expect="reject"),
    Case(response="The Parisian court", gold="Paris", expect="reject", note="whole words only"),
    Case(response="city " * 60 + "Paris", gold="Paris", expect="adversarial", note="stuffed: more than max_words"),
    Case(response="1234567890", gold="5", expect="adversarial", note="a digit inside a number is not the number"),
    Case(response="Par\u200bisian", gold="Paris", expect="adversarial", note="no word ends at a zero-width space"),
)


@verifier(name="text.exact", version="2", isolation="inline", cases=EXACT_CASES)
def exact(sample: Sample, *, where: Where = "whole_text", on_many: OnMany = "reject") -> Verdict:
    """1 when the answer equals the gold (or one of a list of golds), otherwise 0.

    Case, white space, surrounding quotes and emphasis, and a full stop at the end are ignored.

    Args:
        sample: Its gold is a text, a number, or a list of them.
        where: Place of the answer in the response.
        on_many: Whether several different boxed answers are rejected or the last one counts.
    """
    written = _golds(sample.gold)
    if not written:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not text or a list of texts")
    golds = {*written, *(_folded(_bare(gold)) for gold in written)}
    found = final_answer(
        sample.response, where=where, on_many=on_many, accepts=lambda text: _folded(_bare(text)) in golds
    )
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    answer = _folded(_bare(found.text))
    equal = answer in golds or _folded(found.text) in golds
    return Verdict(score=float(equal), parsed=answer, reason="equal" if equal else "another text")


@verifier(name="text.contains", version="2", isolation="inline", cases=CONTAINS_CASES)
def contains(sample: Sample, *, max_words: int = 50) -> Verdict:
    """1 when the response contains the gold (or one of a list of golds) as whole words, otherwise 0.

    This is a weak check: it also rewards a response that names the gold beside other answers. Prefer `text.exact` for
    training.

    Args:
        sample: Its gold is a text, a number, or a list of them.
        max_words: A longer response gets 0, so that naming everything is not rewarded.
    """
    golds = _golds(sample.gold)
    if not golds:
        return Verdict(fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not text or a list of texts")
    response = _folded(sample.response)
    if response.count(" ") + 1 > max_words:
        return Verdict(score=0.0, reason=f"more than {max_words} words", tags=("stuffed",))
    found = next((gold for gold in golds if _stands_in(gold, response)), None)
    return Verdict(score=float(found is not None), parsed=found, reason="contained" if found else "not contained")


def _golds(gold: object) -> list[str]:
    """Return all accepted texts, folded; empty if none can be read."""
    several = cast("Sequence[object]", gold) if isinstance(gold, list | tuple) else [gold]
    if not all(isinstance(one, str | int | float) for one in several):
        return []
    folded = [_folded(str(one)) for one in several]
    return folded if all(folded) else []


def _bare(text: str) -> str:
    r"""Remove surrounding quotes and emphasis, a full stop at the end, and the backslashes of `\&` and `\%`."""
    text = _ESCAPED.sub(r"\1", text).replace("\\ ", " ").replace("~", " ")
    return text.strip(_AROUND).removesuffix(".").strip(_AROUND) or text


def _folded(text: str) -> str:
    return " ".join(plain_characters(text).casefold().split())


def _stands_in(gold: str, response: str) -> bool:
    """Whether the gold occurs with no adjacent letter or digit."""
    start = response.find(gold)
    while start >= 0:
        stop = start + len(gold)
        if not (response[:start][-1:].isalnum() or response[stop : stop + 1].isalnum()):
            return True
        start = response.find(gold, start + 1)
    return False
