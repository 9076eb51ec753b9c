"""Reads the choice that an answer names: by letter, by text, or by a letter in a sentence; with negations and
conditions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

from rewards.extraction import OnMany, plain_characters

LONGEST_ANSWER = 2000
LONGEST_TEXT = 20_000
"""Longest text, in characters, whose lines are read one by one."""
NONE_NAMED = "no choice is named"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

MARKS = " \t\n()[]{}<>*_`'\".,:;!$\\"
_WRAPPER = re.compile(r"\\(?:text|textbf|mathrm|mathbf|textrm|mbox)\s*\{")
_INTRODUCING = re.compile(
    r"(?i)the|my|final|correct|right|best|most|likely|answers?|options?|choices?|letters?|is|are|be|would|so|thus"
    r"|therefore|hence|it|it's|i|choose|pick|select|think|believe|guess|say|go|with|probably|both|only"
)
_MENTION = re.compile(
    r"(?<![\w'\u2019.+-])(?:[A-Z]|(?<=\()[a-z](?=\))|(?<=[Oo]ption )[a-z]|(?<=[Cc]hoice )[a-z])"
    r"(?![\w'\u2019+#%\u00b0-])"
)
_INTRODUCED = re.compile(
    r"(?i)(?:\b(?:answer|option|choice|letter|choose|chose|pick|select|go(?:ing)? with)\b[\s:=*]*(?:\bis\b|:)?|[:=]"
    r"|\b(?:so|thus|therefore|hence|conclude|leaves|leaving|remains|must be|it is|it's|but)\b[,:]?"
    r"(?:\s+(?:it is|it's|it must be|it has to be))?)[\s*(\[]*$"
)
_DENIED = re.compile(
    r"(?i)(?:\bnot|\bcannot|n't|\bneither|\bnor|\bexcept|\bnever|\brather\s+than|\bunlike|\b(?:anything|all)\s+but"
    r"|\bexclud(?:e|es|ed|ing)|\beliminat(?:e|es|ed|ing)|\brul(?:e|es|ed|ing)\s+out|\breject(?:s|ed|ing)?)"
    r"\s+(?:(?:be|also|the|option|options|choice|choices|answer|letter)\s+){0,3}[(\[*]*$"
)
_DENIED_BEHIND = re.compile(
    r"(?i)[)\]*]*\s*(?:is|was|are|seems|would\s+be|looks)"
    r"(?:\s+(?:not|also|clearly|obviously|never|the|an?)|n't){0,3}\s+"
    r"(?:false|incorrect|wrong|untrue|excluded|eliminated|impossible|out|ruled\s+out|rejected"
    r"|tempting|attractive|plausible|close|a\s+(?:distractor|trap))\b"
    r"|[)\]*]*\s*(?:(?:is|was|does|can|could|will|would)\s*(?:not|n't)|cannot|isn't|doesn't|can't)\b"
)
_JOINED = re.compile(r"(?i)[)\]*\s]*(?:,|,?\s*\b(?:or|nor|and)\b|/)[(\[*\s]*(?:(?:option|choice)\s+)?[(\[*]*")
_CONDITION = re.compile(r"(?i)[)\]*]*,?\s+(?:if|unless|when|provided|assuming|depending|only if)\b")
_CONTINUED = re.compile(
    r"\s+(?:because|since|due to|is\s+(?:the\s+)?(?:correct|right|best|answer)|rather\s+than|(?:and|or|nor)\s+[B-Z]\b"
    r"|(?:is|are|was)\s+(?:not|false|incorrect|wrong|eliminated|ruled))"
)
_CONFIRMED = re.compile(r"[)\]*]*\s+(?:is|must be)\s+(?:the\s+)?(?:only\s+)?(?:correct|right|best|true|answer)\b")
"""Words that may follow a label in a sentence; without them, the label A looks like the article."""
ALTERNATIVE = re.compile(r"(?i)\b(?:or|either)\b")
_OTHERWISE = re.compile(r"(?i)\b(?:otherwise|depending on|it depends)\b")
TRAILING = re.compile(
    r"(?i)\s+(?:is|are)\s+(?:both\s+)?(?:the\s+)?(?:correct|right|true)(?:\s+(?:answers?|options?|choices?|ones?))?\W*$"
)
_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\d{1,2}[.)])\s+")
_SEPARATOR = re.compile(r"[\s,;/&+|]+")
_OTHER_LETTERS = str.maketrans(
    "\u0623\u0627\u0628\u062c\u062f\u0995\u0996\u0997\u0998\u0985\u09ac\u09a1", "AABCDABCDABC"
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
    plain = [folded(str(text)) for text in texts.values()]
    if not texts or not all(plain) or not all(texts):
        return None
    unique = {text: label for label, text in zip(texts, plain, strict=True) if plain.count(text) == 1}
    return Options(labels=frozenset(texts), by_text=unique)


def named_choice(answer: str, options: Options, *, on_many: OnMany) -> Choice:
    """Return the one choice that an answer names; the answer must be in plain characters."""
    if len(answer) > LONGEST_ANSWER:
        return Choice(None, f"longer than {LONGEST_ANSWER} characters")
    core = core_of(answer)
    alone = label_of(core, options) or options.by_text.get(folded(answer)) or options.by_text.get(folded(core))
    if alone is not None:
        return Choice(alone)
    labelled = _labelled_text(core, options)
    if labelled is not None:
        return labelled
    mentions = [match for match in _MENTION.finditer(answer) if match[0].upper() in options.labels]
    mentions = [match for match in mentions if _is_label(match, answer)]
    affirmed = _affirmed(mentions, answer)
    if len({match[0].upper() for match in affirmed}) > 1 and on_many == "reject":
        return Choice(None, "several choices", ("hedged",))
    if mentions and not affirmed:
        return Choice(None, "a choice is denied")
    if _hedges(answer, mentions, affirmed) and on_many == "reject":
        return Choice(None, "alternatives", ("hedged",))
    introduced = [match for match in affirmed if _is_introduced(match, answer, beside_denied=mentions != affirmed)]
    if not introduced:
        return Choice(None, NONE_NAMED, ("no_answer",))
    return Choice(introduced[-1][0].upper())


def _affirmed(mentions: list[re.Match[str]], answer: str) -> list[re.Match[str]]:
    """Return the mentions that are not negated; a negation applies to all joined mentions: `not A, B or C`."""
    before = [_DENIED.search(answer[max(0, one.start() - 40) : one.start()]) is not None for one in mentions]
    behind = [_DENIED_BEHIND.match(answer, one.end()) is not None for one in mentions]
    joined = [_JOINED.fullmatch(answer, one.end(), other.start()) is not None for one, other in pairwise(mentions)]
    for index, is_joined in enumerate(joined):
        before[index + 1] |= is_joined and before[index]
    for index in reversed(range(len(joined))):
        behind[index] |= joined[index] and behind[index + 1]
    return [one for one, no, none in zip(mentions, before, behind, strict=True) if not no and not none]


def _hedges(answer: str, mentions: list[re.Match[str]], affirmed: list[re.Match[str]]) -> bool:
    """Whether an alternative or a condition accompanies a choice; `or` between negated choices does not count."""
    if any(_CONDITION.match(answer, mention.end()) for mention in affirmed) or (mentions and _OTHERWISE.search(answer)):
        return True
    if not mentions:
        return False
    denied = [mention for mention in mentions if mention not in affirmed]
    text = answer
    if len(denied) > 1:
        text = answer[: denied[0].start()] + answer[denied[-1].end() :]
    return ALTERNATIVE.search(text) is not None


def choice_on_a_line(text: str, options: Options) -> Choice:
    """Return the single choice that lines of a text name on their own; an explanation may follow below."""
    if len(text) > LONGEST_TEXT:
        return Choice(None, NONE_NAMED, ("no_answer",))
    named = {
        choice.label for line in text.splitlines() if (choice := named_choice(line.strip(), options, on_many="reject"))
    }
    labels = named - {None}
    return Choice(labels.pop()) if len(labels) == 1 else Choice(None, NONE_NAMED, ("no_answer",))


def choices_beside(answer: str, text: str, options: Options) -> frozenset[str]:
    """Return the choices on the lines directly above and below an answer's line, if each line names one."""
    lines = [line.strip() for line in text[-LONGEST_TEXT:].splitlines() if line.strip()]
    at = next(
        (index for index in range(len(lines) - 1, -1, -1) if answer.strip() and answer.strip() in lines[index]), None
    )
    if at is None or _item(lines[at], options) is None:
        return frozenset()
    found: set[str] = set()
    for step in (-1, 1):
        index = at
        while 0 <= index < len(lines) and (label := _item(lines[index], options)) is not None:
            found.add(label)
            index += step
    return frozenset(found)


def _item(line: str, options: Options) -> str | None:
    """Return the choice, if a line of a list names nothing else."""
    bare = _BULLET.sub("", line)
    core = core_of(bare)
    alone = label_of(core, options) or options.by_text.get(folded(bare)) or options.by_text.get(folded(core))
    if alone is not None:
        return alone
    labelled = _labelled_text(core, options)
    return labelled.label if labelled is not None else None


def _labelled_text(core: str, options: Options) -> Choice | None:
    """Read `B) Paris`, a label with its own text; a label with the text of another choice names no choice."""
    head, _, rest = core.partition(" ")
    label = head.strip(MARKS)
    if label not in options.labels or not rest:
        return None
    owner = options.by_text.get(folded(rest.strip(" ()-:*.\u2013\u2014")))
    if owner is None:
        return None
    return Choice(label) if owner == label else Choice(None, f"choice {label} with the text of {owner}")


def _is_label(mention: re.Match[str], answer: str) -> bool:
    """Whether a single capital letter is meant as a label, and not as an article, a pronoun or an initial."""
    after = answer[mention.end() : mention.end() + 24]
    if mention[0] in "AI" and re.match(r"\s+[a-z]", after):
        return _CONTINUED.match(after) is not None
    return not re.match(r"\.\s*[a-z]", after)


def _is_introduced(mention: re.Match[str], answer: str, *, beside_denied: bool) -> bool:
    before = answer[max(0, mention.start() - 40) : mention.start()]
    after = answer[mention.end() : mention.end() + 24]
    if before[-1:] in ("(", "[") and after[:1] in (")", "]"):
        return True
    starts = not before.strip(MARKS) and (
        after[:1] in (")", ".", ":")
        or not after.strip()
        or bool(_CONTINUED.match(after))
        or (beside_denied and after[:1] in (",", ";", " "))
    )
    return starts or bool(_INTRODUCED.search(before)) or bool(_CONFIRMED.match(answer, mention.end()))


def core_of(answer: str) -> str:
    """Remove wrappers, punctuation and the words that introduce an answer."""
    words = _WRAPPER.sub("{", answer).translate(_OTHER_LETTERS).strip(MARKS).split()
    while len(words) > 1 and _INTRODUCING.fullmatch(words[0].strip(MARKS)):
        del words[0]
    if len(words) == 2 and words[1].casefold() == "only":
        del words[1]
    return " ".join(words).strip(MARKS)


def label_of(core: str, options: Options) -> str | None:
    """Return the label, if the text is one; else None."""
    return core.upper() if core.upper() in options.labels else None


def listed_choices(core: str, options: Options) -> frozenset[str]:
    """Return the labels of a text that is only a list of labels; empty if it contains anything else."""
    whole = options.by_text.get(folded(core))
    if whole is not None or len(core) > LONGEST_ANSWER:
        return frozenset() if whole is None else frozenset({whole})
    words = [word.strip(MARKS) for word in _SEPARATOR.split(core)]
    words = [word for word in words if word and word != "and"]
    if len(words) == 1 and words[0].isupper() and set(words[0]) <= options.labels:
        return frozenset(words[0])
    if words and all(word.upper() in options.labels for word in words):
        return frozenset(word.upper() for word in words)
    for between in (r"[;\n,]", r"[;\n,&]|\band\b"):
        items = [item for item in re.split(between, core) if item.strip()]
        read = [named_choice(item.strip(), options, on_many="reject").label for item in items]
        named = frozenset(label for label in read if label is not None)
        if None not in read and options.by_text:
            return named
    return frozenset()


def folded(text: str) -> str:
    """Convert to plain characters, and remove case and surrounding punctuation."""
    return " ".join(plain_characters(text).casefold().strip(MARKS).split())
