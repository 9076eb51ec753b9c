r"""Reads the final answer of a response, for all verifiers.

Thinking sections are left out; a section that is not closed holds no answer. An answer is a box, an `<answer>` tag, the
text after a label ("The answer is"), or the final line; `Where` defines which of these are read. Several marked answers
that differ are a hedge, and so is another answer after a marked one, unless each of them would be right on its own.

Unicode policy: text is normalised by NFKC, so that full-width digits and signs count as ASCII; decimal digits of every
script count as ASCII digits; zero-width and other format characters are dropped; superscripts and vulgar fractions
become `^{...}` and `\frac{..}{..}` instead of merging with adjacent digits.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rewards import answer_marks as marks
from rewards.answer_marks import Accepts, Mark

Where = Literal["last_boxed", "final_line", "auto", "whole_text"]
"""The place of the answer. `last_boxed`: the last `\\boxed{...}`. `final_line`: the last line with text, without a
label such as `Answer:`. `auto`: a box or an `<answer>` tag; else the text after "The answer is" or `Answer:`; else the
final line. `whole_text`: all of it."""
OnMany = Literal["reject", "last"]
"""Treatment of several different answers: `reject` takes them for a hedge, `last` for corrections, so that the last
counts."""

_SUPERSCRIPTS = re.compile("[\u00b2\u00b3\u00b9\u2070\u2074-\u207b]+")
_MOST_MARKS = 30
_WRAPPED = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|mathtt|texttt|mbox|emph|operatorname)\s*\{"
)
_BOX_LABEL = re.compile(
    r"(?i)^(?:\\(?:text|textbf|mathrm|mbox)\s*\{)?\s*(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?(?:final\s+|correct\s+)?"
    r"(?:answer|ans|option|choice)\s*(?:is\b|[:=])\s*[:=]?\s*(?P<close>\}?)\s*"
)
_LINE_LABEL = re.compile(
    r"(?i)^\W*(?:(?:so|thus|therefore|hence),?\s+)?(?:the\s+)?(?:final\s+)?answer\s*(?:is\b\s*:?|[:=])|^####"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Extracted:
    """The answer that was found, or the reason why there is none."""

    text: str | None
    reason: str = ""
    tags: tuple[str, ...] = ()


def final_answer(response: str, *, where: Where, on_many: OnMany, accepts: Accepts | None = None) -> Extracted:
    """Return the final answer of a response, in plain characters, from the text after its thinking sections.

    Args:
        response: The model's text.
        where: Place of the answer in the response.
        on_many: Whether several different answers are rejected or the last one counts.
        accepts: Tells whether an answer would be right on its own; several answers that are all right count as one.
    """
    text = plain_characters(after_thinking(response))
    if where == "whole_text":
        found = marks.tags(text).marks
        whole = len(found) == 1 and text.strip() == text[found[0].start : found[0].stop]
        return _found(found[0].text if whole else text.strip(), response)
    boxes = marks.boxes(text)
    if where == "last_boxed" or (where == "auto" and (boxes.marks or boxes.is_open)):
        if boxes.is_open:
            return Extracted(text=None, reason="the last box is not closed", tags=("truncated",))
        return _marked(boxes.marks, text, on_many=on_many, accepts=accepts, none=r"there is no \boxed{...}")
    tags = marks.tags(text)
    if tags.is_open and not tags.marks:
        return Extracted(text=None, reason="the <answer> tag is not closed", tags=("truncated",))
    if tags.marks:
        return _marked(tags.marks, text, on_many=on_many, accepts=accepts, none="the <answer> tag is empty")
    labelled = marks.labelled(text) if where == "auto" else []
    if labelled:
        return _marked(labelled, text, on_many=on_many, accepts=accepts, none="nothing stands behind the label")
    return _found(_LINE_LABEL.sub("", marks.final_line(text), count=1).strip(), response)


def after_thinking(response: str) -> str:
    """Return the text after the last thinking section; a section that is not closed holds no answer."""
    return marks.after_thinking(response)


def without_wrapper(answer: str) -> str:
    r"""Return the content of `\text{...}` and similar commands, if it is the whole answer, with or without `$` around
    it.
    """
    answer = answer.strip()
    while True:
        if len(answer) > 2 and answer[0] == answer[-1] == "$" and answer.count("$") == 2:
            answer = answer[1:-1].strip()
        wrapper = _WRAPPED.match(answer)
        if wrapper is None or marks.closing_brace(answer, wrapper.end()) != len(answer) - 1:
            return answer
        answer = answer[wrapper.end() : -1].strip()


def plain_characters(text: str) -> str:
    """Apply the Unicode policy of this module to a text."""
    if text.isascii():
        return text
    text = _SUPERSCRIPTS.sub(lambda match: "^{" + unicodedata.normalize("NFKC", match[0]) + "}", text)
    plain = "".join(_plain_character(character) for character in _with_few_marks(text))
    text = unicodedata.normalize("NFKC", plain)
    return text.replace("\u2212", "-").replace("\u2044", "/")


def _with_few_marks(text: str) -> Iterator[str]:
    """Drop combining marks beyond the thirtieth in a row (UAX #15, stream-safe text), because sorting them is
    quadratic.
    """
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MOST_MARKS:
            yield character


def _plain_character(character: str) -> str:
    if character.isascii():
        return character
    if unicodedata.category(character) == "Cf":
        return ""
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    if not unicodedata.decomposition(character).startswith("<fraction>"):
        return character
    numerator, _, denominator = unicodedata.normalize("NFKC", character).partition("\u2044")
    return rf"\frac{{{numerator}}}{{{denominator}}}"


def _found(text: str, response: str) -> Extracted:
    if text:
        return Extracted(text=text)
    if response.strip():
        return Extracted(text=None, reason="nothing stands outside of the thinking section", tags=("no_answer",))
    return Extracted(text=None, reason="the response is empty", tags=("no_answer",))


def _marked(found: Sequence[Mark], text: str, *, on_many: OnMany, accepts: Accepts | None, none: str) -> Extracted:
    """Return the single answer of these marks, or the last one."""
    if not found:
        return Extracted(text=None, reason=none, tags=("no_answer",))
    answers = [_bare(mark.text) for mark in found]
    if on_many == "reject":
        others = [answer for answer in answers if not marks.same_text(answer, answers[-1])]
        if others and not (accepts is not None and all(map(accepts, {*others, answers[-1]}))):
            return Extracted(text=None, reason=f"{len(set(answers))} different answers", tags=("hedged",))
        if marks.second_answer(text[found[-1].stop :], answer=answers[-1], accepts=accepts):
            return Extracted(text=None, reason="another answer follows", tags=("hedged",))
    return Extracted(text=answers[-1]) if answers[-1] else Extracted(text=None, reason=none, tags=("no_answer",))


def _bare(answer: str) -> str:
    """Remove wrappers and the answer's own label."""
    answer = without_wrapper(answer)
    label = _BOX_LABEL.match(answer)
    if label is None or label.end() == len(answer):
        return answer
    rest = answer[label.end() :]
    return without_wrapper(rest if label["close"] or "{" not in label[0] else answer[: label.end()] + rest)
