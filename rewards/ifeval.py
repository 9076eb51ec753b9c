"""IFEval: verifiable instructions, all of which a response must follow (Zhou et al., arXiv 2311.07911).

A gold names instructions of IFEval, of TÜLU 3's data, of IF-RLVR's training data and of IFBench; `docs/ifeval.md` lists
all 137 with their arguments. IFEval's own instructions are implemented from the paper's definitions. Some definitions,
and the public code for the other data sets, reward empty answers; these gaps are closed here. An unknown instruction,
or one without its arguments, is a gold fault and never counts as followed. A text without a letter or digit follows
nothing. A language that cannot be detected is not the requested one. Two of the allowed answers count as none. Sections
need different numbers and contents. A comma of any script is a comma. A postscript must contain text. JSON is an object
or a list. Sentences are found by a rule of this project (`ifeval_text.sentences`), and words in capitals by letters and
marks, whereas the paper's code uses NLTK: on unusual punctuation, counts may differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from rewards.extraction import final_answer
from rewards.ifeval_gold import Instruction, read_instructions
from rewards.ifeval_text import has_content
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier


def _one(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"instruction_id": name, "kwargs": kwargs}


_POEM = [_one("keywords:existence", keywords=["river"]), _one("language:response_language", language="en")]
_PUBLISHED = {
    "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
    "kwargs": [{"num_words": None}, {"num_words": 5.0, "relation": "at least"}],
}
_ENGLISH = _one("language:response_language", language="en")
CASES = (
    # This case comes first: a worker judges it at its start, which loads the language profiles.
    Case(response="The river runs slowly through the quiet valley.", gold=_POEM, expect="accept"),
    Case(response="There are no such marks in here.", gold=_PUBLISHED, expect="accept", note="as published"),
    Case(
        response="The cat met a cat.",
        gold='{"func_name": "verify_keyword_frequency", "N": 2, "word": "cat", "letter": null}',
        expect="accept",
        note="as TÜLU 3's data has it",
    ),
    Case(
        response="Rain is wet. Is it?! Rain: yes; rain, no! So it is?",
        gold="[{'instruction_id': ['count:punctuation'], 'kwargs': [None]}]",
        expect="accept",
        note="IFBench's, as a Python literal",
    ),
    Case(response="- one\n- two", gold=[_one("detectable_format:number_bullet_lists", num_bullets=2)], expect="accept"),
    Case(
        response="Sure:\n*a* and *b*\n",
        gold=[_one("keywords:forbidden_words", forbidden_words=["sure"])],
        params={"loose": True},
        expect="accept",
        note="loose: without its first line",
    ),
    Case(response="Der Fluss fließt langsam durch das Tal, river.", gold=_POEM, expect="reject"),
    Case(response="Yes, there are some of them in here.", gold=_PUBLISHED, expect="reject"),
    Case(response="A cat.", gold={"func_name": "verify_keyword_frequency", "N": 2, "word": "cat"}, expect="reject"),
    Case(response="No marks here.", gold=_PUBLISHED, expect="reject", note="too short"),
    Case(
        response="The valley is quiet.",
        gold=_POEM,
        params={"partial": True},
        expect="reject",
        at_most=0.5,
        note="half of the instructions",
    ),
    Case(response="", gold=[_one("punctuation:no_comma")], expect="adversarial", note="empty"),
    Case(response=" .\n. ", gold=[_one("punctuation:no_comma")], expect="adversarial", note="as good as empty"),
    Case(
        response="My answer is yes. My answer is no.",
        gold=[_one("detectable_format:constrained_response")],
        expect="adversarial",
        note="hedged",
    ),
    Case(response="One\uff0c two\u060c three", gold=[_one("punctuation:no_comma")], expect="adversarial"),
    Case(
        response="SECTION 1 SECTION 1 SECTION 1",
        gold=[_one("detectable_format:multiple_sections", section_spliter="SECTION", num_sections=3)],
        expect="adversarial",
        note="headings without sections",
    ),
    Case(response="12345 67890 + 54321", gold=[_ENGLISH], expect="adversarial", note="no language at all"),
)


@verifier(name="ifeval", version="4", timeout_s=10.0, extra="rewards", modules=("langdetect",), cases=CASES)
def followed(sample: Sample, *, loose: bool = False, partial: bool = False) -> Verdict:
    """1 when the response follows every instruction of the gold, otherwise 0.

    Args:
        sample: Its gold names the instructions by their public ids, in any form that `ifeval_gold.read_instructions`
            accepts.
        loose: Use the paper's loose accuracy: an instruction counts as followed if any of eight texts follows it, which
            are the response with or without its first line, its last line, and all asterisks.
        partial: Give the share of followed instructions as the score.
    """
    try:
        instructions = read_instructions(sample.gold)
    except ValueError as error:
        return Verdict(fault=Fault.GOLD, reason=f"the gold cannot be read: {error!s:.300}")
    found = final_answer(sample.response, where="whole_text", on_many="reject")
    if found.text is None or not has_content(found.text):
        return Verdict(score=0.0, reason="the response is empty", tags=("no_answer",))
    results = [_is_followed(instruction, found.text, loose=loose) for instruction in instructions]
    failed = [instruction.id for instruction, result in zip(instructions, results, strict=True) if not result]
    share = sum(results) / len(results)
    return Verdict(
        score=share if partial or not failed else 0.0,
        parts=_parts(instructions, results),
        reason=f"not followed: {', '.join(failed)}"[:300] if failed else "all followed",
    )


def _is_followed(instruction: Instruction, text: str, *, loose: bool) -> bool:
    texts = _loose_texts(text) if loose else iter((text,))
    return any(has_content(one) and instruction.check(one) for one in texts)


def _loose_texts(text: str) -> Iterator[str]:
    lines = text.split("\n")
    for first, last, plain in product((0, 1), (0, 1), (False, True)):
        kept = "\n".join(lines[first : len(lines) - last]).strip()
        yield kept.replace("*", "") if plain else kept


def _parts(instructions: list[Instruction], results: list[bool]) -> dict[str, float]:
    """Return 1 or 0 per instruction; a repeated instruction gets a number."""
    parts: dict[str, float] = {}
    for instruction, result in zip(instructions, results, strict=True):
        count = sum(name.partition("#")[0] == instruction.id for name in parts)
        parts[f"{instruction.id}#{count + 1}" if count else instruction.id] = float(result)
    return parts
