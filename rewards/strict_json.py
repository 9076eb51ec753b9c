"""Reads model-written JSON strictly: one value, no duplicate keys, no NaN or infinity, bounded nesting.

It also finds the payload of a response that should be machine-readable: the whole text, or the content of its code
fence. Characters are left unchanged here, because the Unicode policy of `rewards.extraction` would change strings.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from rewards.answer_marks import inside_tag
from rewards.extraction import OnMany, after_thinking

DEEPEST_NESTING = 64
LONGEST_TEXT = 200_000
"""Longest payload in characters; a longer one is not read."""

Fence = Literal["allow", "require", "forbid"]
"""Whether the payload may, must or must not be in a Markdown code fence (three backticks)."""

_STRUCTURE = re.compile(r'\\.|["\[\]{}]', re.DOTALL)


class Payload(NamedTuple):
    """The machine-readable part of a response, or the reason why there is none."""

    text: str | None
    reason: str = ""
    tags: tuple[str, ...] = ()


class JsonValue(NamedTuple):
    """A parsed value, or the reason why it could not be parsed."""

    value: Any
    problem: str | None = None


def payload(response: str, *, fence: Fence, text_around: bool, on_many: OnMany) -> Payload:
    """Return the text after the last `</think>`, without its code fence.

    Args:
        response: The text of the model.
        fence: Whether a code fence may, must or must not be present.
        text_around: Whether text may precede or follow the fence.
        on_many: Whether several fences with different contents are rejected or the last one counts.
    """
    text = inside_tag(after_thinking(response)).strip()
    if not text:
        return Payload(None, "the response is empty", ("no_answer",))
    if len(text) > LONGEST_TEXT:
        return Payload(None, f"longer than {LONGEST_TEXT} characters")
    blocks, outside, is_open = _fenced(text)
    if is_open:
        return Payload(None, "a code fence is not closed", ("truncated",))
    if not blocks:
        return Payload(None, "there is no code fence", ("no_answer",)) if fence == "require" else Payload(text)
    if fence == "forbid":
        return Payload(None, "a code fence, which the recipe forbids")
    if len(set(blocks)) > 1 and on_many == "reject":
        return Payload(None, f"{len(set(blocks))} different code fences", ("hedged",))
    if outside and not text_around:
        return Payload(None, "text beside the code fence")
    return Payload(blocks[-1])


def read_json(text: str) -> JsonValue:
    """Parse the JSON value that makes up the whole of `text`."""
    if _is_too_deep(text):
        return JsonValue(None, f"nested deeper than {DEEPEST_NESTING}")
    try:
        value = _DECODER.decode(text)
        if not text.isascii() or "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return JsonValue(None, "half of a surrogate pair")
    except ValueError as error:
        return JsonValue(None, f"not JSON: {error!s:.100}")
    return JsonValue(value)


def _fenced(text: str) -> tuple[list[str], bool, bool]:
    """Return the blocks between fences, whether there is text outside them, and whether the last fence is still
    open.
    """
    blocks: list[str] = []
    block: list[str] | None = None
    outside = False
    for line in text.split("\n"):
        if line.lstrip().startswith("```"):
            if block is not None:
                blocks.append("\n".join(block))
            block = [] if block is None else None
        elif block is not None:
            block.append(line)
        else:
            outside = outside or bool(line.strip())
    return blocks, outside, block is not None


def _is_too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= DEEPEST_NESTING:
        return False
    depth, in_string = 0, False
    for token in _STRUCTURE.finditer(text):
        if token[0] == '"':
            in_string = not in_string
        elif not in_string:
            depth += (token[0] in "[{") - (token[0] in "]}")
            if depth > DEEPEST_NESTING:
                return True
    return False


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return made


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number out of range")
    return number


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant)
