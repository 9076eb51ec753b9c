r"""Multiple choice: one letter, or several. `meta.choices` is a list of texts, or a mapping from label to text.

These name a choice: its letter alone (`B`, `(b)`, `\boxed{B}`, `Option B`), its letter with its own text, its text, or
its letter introduced in a sentence (`The answer is B because ...`). These do not: the article A, the pronoun I, an
initial (`E. coli`), a letter that happens to occur in prose (`Vitamin C`), a negated letter, two letters, a letter with
the text of another choice, a look-alike from another script. Arabic and Bengali option letters are read by their
position in the alphabet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from rewards.extraction import OnMany, Where, final_answer, plain_characters
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

LONGEST_ANSWER = 2000
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_MARKS = " \t\n()[]{}<>*_`'\".,:;$\\"
_WRAPPER = re.compile(r"\\(?:text|textbf|mathrm|mathbf|textrm|mbox)\s*\{")
_INTRODUCING = re.compile(
    r"(?i)the|my|final|correct|right|best|most|likely|answers?|options?|choices?|letters?|is|are|be|would|so|thus"
    r"|therefore|hence|it|it's|i|choose|pick|select"
)
_MENTION = re.compile(r"(?<![\w'\u2019.+-])[A-Z](?![\w'\u2019+#%\u00b0-])")
_INTRODUCED = re.compile(
    r"(?i)(?:\b(?:answer|option|choice|letter|choose|pick|select)\b[\s:=*]*(?:\bis\b|:)?|[:=])[\s*(\[]*$"
)
_DENIED = re.compile(r"(?i)(?:\bnot|n't|\bneither|\bnor|\bexcept|\bnever)\s+(?:\b(?:option|choice|be)\s+)?[(\[]?$")
_CONTINUED = re.compile(r"\s+(?:because|since|due to|is\s+(?:the\s+)?(?:correct|right|best|answer))\b")
"""Words that may follow a label in a sentence; without them, the label A looks like the article."""
_ALTERNATIVE = re.compile(r"(?i)\b(?:or|either)\b")
_SEPARATOR = re.compile(r"[\s,;/&+|]+")
_OTHER_LETTERS = str.maketrans(
    "\u0623\u0627\u0628\u062c\u062f\u0995\u0996\u0997\u0998\u0985\u09ac\u09a1", "AABCDABCDABC"
)

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


class Options(NamedTuple):
    """The existing labels, and the label of each folded text that belongs to only one choice."""

    labels: frozenset[str]
    by_text: Mapping[str, str]


class Choice(NamedTuple):
    """The label that was read, or the reason why there is none."""

    label: str | None
    reason: str = ""
    tags: tuple[str, ...] = ()


@verifier(name="choice.letter", version="2", isolation="inline", cases=LETTER_CASES)
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
    found = final_answer(sample.response, where=where, on_many=on_many)
    if found.text is None:
        return Verdict(score=0.0, reason=found.reason, tags=found.tags)
    choice = named_choice(found.text, options, on_many=on_many)
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
    if _ALTERNATIVE.search(found.text) and _folded(found.text) not in options.by_text:
        return Verdict(score=0.0, reason="alternatives", tags=("hedged",))
    named = _labels(_core(found.text), options)
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


def read_options(choices: object) -> Options | None:
    """Read the choices of a row. Without choices, any letter is a label; None if they cannot be read."""
    if choices is None:
        return Options(labels=frozenset(ALPHABET), by_text={})
    if isinstance(choices, Mapping):
        texts = {str(label).strip().upper(): text for label, text in cast("Mapping[object, object]", choices).items()}
    elif isinstance(choices, list | tuple):
        several = cast("Sequence[object]", choices)
        texts = dict(zip(ALPHABET, several, strict=False)) if len(several) <= len(ALPHABET) else {}
    else:
        return None
    folded = [_folded(str(text)) for text in texts.values()]
    if not texts or not all(folded) or not all(texts):
        return None
    unique = {text: label for label, text in zip(texts, folded, strict=True) if folded.count(text) == 1}
    return Options(labels=frozenset(texts), by_text=unique)


def named_choice(answer: str, options: Options, *, on_many: OnMany) -> Choice:
    """Return the one choice that an answer names; the answer must be in plain characters."""
    if len(answer) > LONGEST_ANSWER:
        return Choice(None, f"longer than {LONGEST_ANSWER} characters")
    core = _core(answer)
    alone = _label(core, options) or options.by_text.get(_folded(answer)) or options.by_text.get(_folded(core))
    if alone is not None:
        return Choice(alone)
    labelled = _labelled_text(core, options)
    if labelled is not None:
        return labelled
    mentions = [match for match in _MENTION.finditer(answer) if match[0] in options.labels]
    mentions = [match for match in mentions if _is_label(match, answer)]
    if len({match[0] for match in mentions}) > 1 and on_many == "reject":
        return Choice(None, "several choices", ("hedged",))
    if _ALTERNATIVE.search(answer) and mentions and on_many == "reject":
        return Choice(None, "alternatives", ("hedged",))
    introduced = [match for match in mentions if _is_introduced(match, answer)]
    if not introduced:
        return Choice(None, "no choice is named", ("no_answer",))
    if any(_DENIED.search(answer[max(0, match.start() - 40) : match.start()]) for match in mentions):
        return Choice(None, "a choice is denied")
    return Choice(introduced[-1][0])


def _labelled_text(core: str, options: Options) -> Choice | None:
    """Read `B) Paris`, a label with its own text; a label with the text of another choice names no choice."""
    head, _, rest = core.partition(" ")
    label = head.strip(_MARKS)
    if label not in options.labels or not rest:
        return None
    owner = options.by_text.get(_folded(rest.strip(" ()-:*.")))
    if owner is None:
        return None
    return Choice(label) if owner == label else Choice(None, f"choice {label} with the text of {owner}")


def _is_label(mention: re.Match[str], answer: str) -> bool:
    """Whether a single capital letter is meant as a label, and not as an article, a pronoun or an initial."""
    after = answer[mention.end() : mention.end() + 24]
    if mention[0] in "AI" and re.match(r"\s+[a-z]", after):
        return _CONTINUED.match(after) is not None
    return not re.match(r"\.\s*[a-z]", after)


def _is_introduced(mention: re.Match[str], answer: str) -> bool:
    before = answer[max(0, mention.start() - 40) : mention.start()]
    after = answer[mention.end() : mention.end() + 24]
    if before[-1:] in ("(", "[") and after[:1] in (")", "]"):
        return True
    starts = not before.strip(_MARKS) and (
        after[:1] in (")", ".", ":") or not after.strip() or bool(_CONTINUED.match(after))
    )
    return starts or bool(_INTRODUCED.search(before))


def _core(answer: str) -> str:
    """Remove wrappers, punctuation and the words that introduce an answer."""
    words = _WRAPPER.sub("{", answer).translate(_OTHER_LETTERS).strip(_MARKS).split()
    while len(words) > 1 and _INTRODUCING.fullmatch(words[0].strip(_MARKS)):
        del words[0]
    return " ".join(words).strip(_MARKS)


def _label(core: str, options: Options) -> str | None:
    return core.upper() if core.upper() in options.labels else None


def _labels(core: str, options: Options) -> frozenset[str]:
    """Return the labels of a text that is only a list of labels; empty if it contains anything else."""
    whole = options.by_text.get(_folded(core))
    if whole is not None or len(core) > LONGEST_ANSWER:
        return frozenset() if whole is None else frozenset({whole})
    words = [word.strip(_MARKS) for word in _SEPARATOR.split(core)]
    words = [word for word in words if word and word != "and"]
    if len(words) == 1 and words[0].isupper() and set(words[0]) <= options.labels:
        return frozenset(words[0])
    if words and all(word.upper() in options.labels for word in words):
        return frozenset(word.upper() for word in words)
    items = [item for item in re.split(r"[;\n,]", core) if item.strip()]
    read = [named_choice(item.strip(), options, on_many="reject").label for item in items]
    named = [label for label in read if label is not None]
    return frozenset(named) if len(named) == len(read) and options.by_text else frozenset()


def _gold_label(gold: object, options: Options | None) -> str | None:
    if options is None or isinstance(gold, bool) or not isinstance(gold, str | int):
        return None
    return _label(plain_characters(str(gold)).strip(_MARKS), options)


def _gold_labels(gold: object, options: Options | None) -> frozenset[str]:
    if options is None:
        return frozenset()
    if isinstance(gold, str):
        core = plain_characters(gold).strip(_MARKS)
        return _labels(core, Options(labels=options.labels, by_text={}))
    if not isinstance(gold, list | tuple):
        return frozenset()
    read = [_gold_label(one, options) for one in cast("Sequence[object]", gold)]
    named = frozenset(label for label in read if label is not None)
    return named if None not in read else frozenset()


def _gold_problem(gold: object, options: Options | None) -> str:
    if options is None:
        return "`choices` of the row is not a list of texts, or a mapping from label to text"
    return f"the gold {gold!r:.100} is not among the choices {', '.join(sorted(options.labels))}"


def _folded(text: str) -> str:
    return " ".join(plain_characters(text).casefold().strip(_MARKS).split())
