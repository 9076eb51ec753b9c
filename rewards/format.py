"""The form of a response: tagged sections, such as `<think>...</think><answer>...</answer>`."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from rewards.extraction import plain_characters
from rlpost.records import Sample, Verdict
from rlpost.scoring.authoring import Case, verifier


def _all_different(names: Sequence[str]) -> Sequence[str]:
    if len({name.casefold() for name in names}) != len(names):
        raise ValueError("the tags must be different from each other")
    return names


TagName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
TagNames = Annotated[Sequence[TagName], Field(min_length=1, max_length=16), AfterValidator(_all_different)]

CASES = (
    Case(response="<think>1 + 1 is 2.</think>\n<answer>2</answer>\n", expect="accept"),
    Case(response="1 + 1 is 2.</think><answer>2</answer>", params={"opened_by_prompt": True}, expect="accept"),
    Case(response="<think>a < b, so b.</think>b", params={"tags": ["think"], "after": "required"}, expect="accept"),
    Case(response="<answer>2</answer>", expect="reject"),
    Case(response="<answer>2</answer><think>1 + 1</think>", expect="reject", note="the wrong order"),
    Case(response="<think>1 + 1 is 2.</think><answer>2", expect="reject", note="cut off"),
    Case(response="<think>x</think>", params={"tags": ["think"], "after": "required"}, expect="reject"),
    Case(response="<think> \n</think><answer>2</answer>", expect="adversarial", note="an empty section"),
    Case(response="<think>\u200b...</think><answer>2</answer>", expect="adversarial", note="as good as empty"),
    Case(response="<think>x</think><answer>2</answer> or 3", expect="adversarial", note="text behind"),
    Case(response="<think>x<answer>1</answer></think><answer>2</answer>", expect="adversarial", note="nested"),
    Case(response="<think>x</think><answer>1</answer><answer>2</answer>", expect="adversarial", note="twice"),
    Case(response="<think>x &lt;/think&gt;</think><answer>2</answer>", expect="adversarial", note="escaped"),
    Case(response="<think>x</ think ><THINK>y</think><answer>2</answer>", expect="adversarial", note="in disguise"),
    Case(response="<think>x<\u200b/answer></think><answer>2</answer>", expect="adversarial", note="zero-width"),
    Case(response="<think>x</think></think><answer>2</answer>", expect="adversarial"),
)


@verifier(name="format.tags", version="1", isolation="inline", requires=(), cases=CASES)
def tags(
    sample: Sample,
    *,
    tags: TagNames = ("think", "answer"),
    opened_by_prompt: bool = False,
    after: Literal["forbidden", "required"] = "forbidden",
) -> Verdict:
    """1 when the response consists of one non-empty section per tag, in order, and nothing else; otherwise 0.

    A tag must be written exactly as named. Any other occurrence counts as a second one, including variants with spaces,
    in another case, escaped for HTML, or with invisible or full-width characters.

    Args:
        sample: Needs no gold.
        tags: Names of the tags, in order.
        opened_by_prompt: Whether the chat template has already written the first opening tag.
        after: Whether text after the last section is forbidden, or required as the answer.
    """
    response = sample.response.strip()
    if opened_by_prompt:
        response = f"<{tags[0]}>{response}"
    position = 0
    for name in tags:
        opening, closing = f"<{name}>", f"</{name}>"
        start = response.find(opening, position)
        if start < 0 or response[position:start].strip():
            return Verdict(score=0.0, reason=f"{opening} is not where it belongs")
        start += len(opening)
        stop = response.find(closing, start)
        if stop < 0:
            return Verdict(score=0.0, reason=f"{opening} is not closed", tags=("truncated",))
        if not _has_content(response[start:stop]):
            return Verdict(score=0.0, reason=f"{opening} is empty")
        position = stop + len(closing)
    rest = response[position:]
    if after == "required" and not _has_content(rest):
        return Verdict(score=0.0, reason="nothing behind the last section", tags=("no_answer",))
    if after == "forbidden" and rest:
        return Verdict(score=0.0, reason="text behind the last section")
    plain = plain_characters(html.unescape(response))
    if len(_any_tag(tuple(tags)).findall(plain)) != 2 * len(tags):
        return Verdict(score=0.0, reason="a tag more than once", tags=("stuffed",))
    return Verdict(score=1.0, reason="well formed")


def _has_content(text: str) -> bool:
    return any(map(str.isalnum, text))


@lru_cache(maxsize=64)
def _any_tag(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"<\s*(?:/\s*)?(?:{'|'.join(map(re.escape, names))})(?![\w-])", re.IGNORECASE)
