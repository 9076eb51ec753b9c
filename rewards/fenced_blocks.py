"""The fenced code of a response, exactly as written, because offsets and literals must not change."""

from __future__ import annotations

from collections.abc import Collection

from rewards.answer_marks import inside_tag
from rewards.extraction import Extracted, OnMany, after_thinking

_FENCES = ("```", "~~~")


def fenced_or_whole(response: str, *, languages: Collection[str], on_many: OnMany) -> Extracted:
    """Return the fenced block in one of the languages, or without a language; the whole text if nothing is fenced.

    Only the text after the last `</think>` is read. Several different blocks are a hedge, or the last one counts, as
    `on_many` says; a block that is not closed is a truncated answer.

    Args:
        response: The model's text.
        languages: Lower-case language names that may follow the opening fence.
        on_many: Whether several different blocks are rejected or the last one counts.
    """
    text = inside_tag(after_thinking(response))
    blocks, is_open = _blocks(text, languages=languages)
    if is_open:
        return Extracted(text=None, reason="the last block is not closed", tags=("truncated",))
    if not blocks:
        blocks = [text.strip()]
    if len(set(blocks)) > 1 and on_many == "reject":
        return Extracted(text=None, reason=f"{len(set(blocks))} different blocks", tags=("hedged",))
    if not blocks[-1]:
        return Extracted(text=None, reason="the response is empty", tags=("no_answer",))
    return Extracted(text=blocks[-1])


def _blocks(text: str, *, languages: Collection[str]) -> tuple[list[str], bool]:
    """Return all blocks that count, and whether one of them is still open at the end."""
    blocks: list[str] = []
    lines: list[str] = []
    fence, counts = "", False
    for line in text.splitlines():
        mark = line.strip()
        if not fence:
            fence = next((one for one in _FENCES if mark.startswith(one)), "")
            language = mark.lstrip("`~").strip().lower()
            counts, lines = not language or language in languages, []
        elif mark.startswith(fence) and not mark.strip(fence[0]):
            if counts:
                blocks.append("\n".join(lines).strip())
            fence = ""
        else:
            lines.append(line)
    return blocks, bool(fence) and counts
