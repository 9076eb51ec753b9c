r"""Multiple choice: one letter, or several. `meta.choices` is a list of texts, or a mapping from label to text.

These name a choice: its letter alone (`B`, `(b)`, `\boxed{B}`, `Option B`), its letter with its own text, its text, or
its letter introduced in a sentence (`The answer is B because ...`). Negated letters beside it do not count: `B, not A`
is B. These name no choice: the article A, the pronoun I, an initial (`E. coli`), a letter that happens to occur in
prose (`Vitamin C`), a letter that is negated or depends on a condition, two letters, a letter with the text of another
choice, a look-alike from another script. Arabic and Bengali option letters are read by their position in the alphabet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from rewards.choice_reading import (
    ALTERNATIVE,
    MARKS,
    NONE_NAMED,
    TRAILING,
    Options,
    choice_on_a_line,
    choices_beside,
    core_of,
    folded,
    label_of,
    listed_choices,
    named_choice,
    read_options,
)
from rewards.extraction import OnMany, Where, after_thinking, final_answer, plain_characters
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

CHOICES = ("Vitamin C", "E. coli", "Paris", "A cat")
LETTER_CASES = (
    Case(response="B", gold="B", expect="accept"),
    Case(response="It is a bacterium.\nThe answer is (B).", gold="B", meta={"choices": CHOICES}, expect="accept"),
    Case(response=r"\boxed{\text{b}}", gold="B", expect="accept"),
    Case(response="E. coli", gold="B", meta={"choices": CHOICES}, expect="accept", note="the text of the choice"),
    Case(response="C) Paris", gold="C", meta={"choices": CHOICES}, expect="accept"),
    Case(response="The answer is A because it is an acid.", gold="A", meta={"choices": CHOICES}, expect="accept"),
    Case(response="(2)", gold="2", meta={"choices": {"1": "yes", "2": "no"}}, expect="accept", note="other labels"),
    Case(response="\u0628", gold="B", expect="accept", note="Arabic letters count by their place"),
    Case(response="Not A, therefore B.", gold="B", expect="accept", note="the other one is denied"),
    Case(response="C", gold="B", expect="reject"),
    Case(response="E", gold="B", meta={"choices": CHOICES}, expect="reject", note="there is no fifth choice"),
    Case(response="I do not know.", gold="I", expect="reject", note="a pronoun"),
    Case(response="A dog barked all night", gold="A", expect="reject", note="an article"),
    Case(response="Vitamin C", gold="C", meta={"choices": CHOICES}, expect="reject", note="the text of choice A"),
    Case(response="E. coli", gold="E", expect="reject", note="an initial"),
    Case(response="A or B", gold="B", expect="adversarial", note="hedged"),
    Case(response="A, B", gold="B", expect="adversarial"),
    Case(response="The answer is A. The answer is B.", gold="B", expect="adversarial"),
    Case(response="A B C D", gold="B", expect="adversarial", note="all of them"),
    Case(
        response="B) Paris",
        gold="B",
        meta={"choices": CHOICES},
        expect="adversarial",
        note="letter of one, text of another",
    ),
    Case(response="The answer is not B", gold="B", expect="adversarial"),
    Case(response="B if it rains, otherwise C", gold="B", expect="adversarial", note="a condition"),
    Case(response="\u0412", gold="B", expect="adversarial", note="a Cyrillic look-alike"),
    Case(response="B or something else", gold="B", expect="adversarial"),
)
MULTI_CASES = (
    Case(response="A, C", gold=["A", "C"], expect="accept"),
    Case(response=r"\boxed{CA}", gold="AC", expect="accept", note="without separators, in any order"),
    Case(response="The answers are A and C.", gold="A;C", expect="accept"),
    Case(response="E. coli; Paris", gold=["B", "C"], meta={"choices": CHOICES}, expect="accept"),
    Case(response="A, A, C", gold=["A", "C"], expect="accept", note="a choice named twice is one"),
    Case(response="A", gold=["A", "C"], expect="reject"),
    Case(response="A", gold=["A", "C"], params={"partial": True}, expect="reject", at_most=0.5),
    Case(response="A, B", gold=["A", "C"], expect="reject"),
    Case(response="none of them", gold=["A", "C"], expect="reject"),
    Case(
        response="A, B, C, D",
        gold=["A", "C", "D"],
        meta={"choices": CHOICES},
        params={"partial": True},
        expect="adversarial",
        note="all of them",
    ),
    Case(response="A, C or D", gold=["A", "C"], expect="adversarial", note="hedged"),
    Case(
        response="A, B",
        gold=["A", "C"],
        params={"partial": True},
        expect="adversarial",
        note="a wrong one costs a right one",
    ),
    Case(response="not A, C", gold=["A", "C"], expect="adversarial"),
)


@verifier(name="choice.letter", version="3", isolation="inline", cases=LETTER_CASES)
def letter(sample: Sample, *, where: Where = "auto", on_many: OnMany = "reject") -> Verdict:
    """1 when the answer names the choice of the gold and no other, otherwise 0.

    Args:
        sample: Its gold is a letter, or a label of `meta.choices` if that is a mapping; `meta.choices` is optional.
        where: Place of the answer in the response.
        on_many: Whether several different boxes or letters are rejected or the last one counts.
    """
    options = read_options(sample.meta.get("choices"))
    gold = _gold_label(sample.gold, options)
    if options is None or gold is None:
        return Verdict(fault=Fault.GOLD, reason=_gold_problem(sample.gold, options))

    def accepts(text: str) -> bool:
        return named_choice(text, options, on_many="reject").label == gold

    found = final_answer(sample.response, where=where, on_many=on_many, accepts=accepts)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    choice = named_choice(found.text, options, on_many=on_many)
    text = after_thinking(sample.response)
    if choice.reason == NONE_NAMED and where == "auto" and "boxed" not in text and "<answer" not in text.casefold():
        choice = choice_on_a_line(plain_characters(text), options)
    if choice.label is None:
        return Verdict(score=0.0, reason=choice.reason, tags=choice.tags)
    equal = choice.label == gold
    return Verdict(score=float(equal), parsed=choice.label, reason="equal" if equal else "another choice")


@verifier(name="choice.multi", version="2", isolation="inline", cases=MULTI_CASES)
def multi(sample: Sample, *, where: Where = "auto", on_many: OnMany = "reject", partial: bool = False) -> Verdict:
    """1 when the answer names exactly the choices of the gold, otherwise 0; `parts` has precision and recall.

    Args:
        sample: Its gold is a list of letters (or labels of `meta.choices`), or text such as `A, C` or `AC`.
        where: Place of the answer in the response.
        on_many: Whether several different boxed answers are rejected or the last one counts.
        partial: Give (right - wrong) / (choices of the gold) as the score, and 0 for naming all choices.
    """
    options = read_options(sample.meta.get("choices"))
    gold = _gold_labels(sample.gold, options)
    if options is None or not gold:
        return Verdict(fault=Fault.GOLD, reason=_gold_problem(sample.gold, options))
    found = final_answer(sample.response, where=where, on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    if ALTERNATIVE.search(found.text) and folded(found.text) not in options.by_text:
        return Verdict(score=0.0, reason="alternatives", tags=("hedged",))
    named = listed_choices(core_of(TRAILING.sub("", found.text)), options)
    if where in ("auto", "final_line"):
        named |= choices_beside(found.text, plain_characters(after_thinking(sample.response)), options)
    if not named:
        return Verdict(score=0.0, reason="not a list of choices", tags=("no_answer",))
    right = len(named & gold)
    parts = {"precision": right / len(named), "recall": right / len(gold)}
    parsed = ", ".join(sorted(named))
    if named == gold:
        return Verdict(score=1.0, parsed=parsed, parts=parts, reason="equal")
    if options.by_text and named == options.labels:
        return Verdict(score=0.0, parsed=parsed, parts=parts, reason="all choices", tags=("stuffed",))
    share = max(0, 2 * right - len(named)) / len(gold) if partial else 0.0
    return Verdict(score=share, parsed=parsed, parts=parts, reason="other choices")


def _gold_label(gold: object, options: Options | None) -> str | None:
    if options is None or isinstance(gold, bool) or not isinstance(gold, str | int):
        return None
    return label_of(plain_characters(str(gold)).strip(MARKS), options)


def _gold_labels(gold: object, options: Options | None) -> frozenset[str]:
    if options is None:
        return frozenset()
    if isinstance(gold, str):
        core = plain_characters(gold).strip(MARKS)
        return listed_choices(core, Options(labels=options.labels, by_text={}))
    if not isinstance(gold, list | tuple):
        return frozenset()
    read = [_gold_label(one, options) for one in cast("Sequence[object]", gold)]
    named = frozenset(label for label in read if label is not None)
    return named if None not in read else frozenset()


def _gold_problem(gold: object, options: Options | None) -> str:
    if options is None:
        return "`choices` of the row is not a list of texts, or a mapping from label to text"
    return f"the gold {gold!r:.100} is not among the choices {', '.join(sorted(options.labels))}"
