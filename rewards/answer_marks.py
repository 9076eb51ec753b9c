r"""Finds the marks of an answer in a response: boxes, `<answer>` tags, and labels such as "The answer is".

It also finds a second answer after a mark. Everything here takes time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

LONGEST_LABELLED = 400
"""Most characters of the line after a label that are read."""
LONGEST_TAIL = 4000
"""Most characters after an answer that are searched for a second one."""

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_TAG = re.compile(
    r"<(answer|final_answer)>((?:(?!</?(?:answer|final_answer)>).)*)(</(?:answer|final_answer)>|$)", re.I | re.DOTALL
)
_THINKING = r"(?:think|thinking|thought|thoughts|reasoning|scratchpad)"
_THINKING_END = re.compile(rf"</{_THINKING}>|\[/THINK\]", re.I)
_THINKING_START = re.compile(rf"<{_THINKING}>|\[THINK\]", re.I)
LABEL = re.compile(
    r"(?i)\b(?:answers?|ans)(?:\s+(?:to|for)\s+(?:the|this)\s+(?:question|problem|task|exercise))?[*_`]{0,3}\s{0,3}"
    r"(?:(?:is|are|was|becomes|(?:should|would|must|will)\s+be)\b(?:[*_`\s]{0,6}:)?|[:=]|\s[-\u2013\u2014]\s|->|\u2192"
    r"|[*_]{0,3}\s{0,3}$)[*_`]{0,3}",
    re.MULTILINE,
)
_NO_LABEL_BEFORE = re.compile(
    r"(?i)\b(?:if|whether|unless|suppose|assuming|assume|what|no|each|other|first|initial)\s+(?:that\s+)?"
    r"(?:(?:the|my|this|your)\s+)?(?:\w+\s+)?$"
)
_LINE_LABEL = re.compile(r"^[ \t]*####(?!#)[ \t]*(?=\S*\d)", re.MULTILINE)
_DELIMITER_LINE = re.compile(r"(?:\$\$?|\\\[|\\\]|\\\(|\\\)|```\w*|~~~\w*|-{3,}|\*{3,}|_{3,}|</?[a-z]{1,10}>)\.?")
_COURTESY = re.compile(
    r"(?i)(?:i|we)?\s*(?:hope|let me know|feel free|please (?:let|feel|note that i)|if you (?:have|need|would|want)"
    r"|happy to|good luck|thanks?\b|is there anything)"
)
_SENTENCE_END = re.compile(r"(?P<word>[^\s.!?]*)(?P<mark>[.!?])[*_\"')\]$]{0,4}\s+(?=[A-Z\"'(\\$*])")
_ABBREVIATIONS = re.compile(
    r"(?i)(?:st|mrs?|ms|[djs]r|vs|mt|ft|no|prof|gen|col|rev|inc|ltd|corp|co|al|etc|fig|eq|approx)"
)
_REASON = re.compile(
    r",?\s+(?:because|since|due to|as\s+(?:it|the|they|we|he|she|there|this|that|shown|required|desired|needed)|which"
    r"|so that|given that|where)\b|\s+\((?:because|since|as)\b"
)
_VALUE = (
    r"(?:\\[(\[]|\$)?\s{0,2}[-+\u2212]?\s?(?:\d[\d,]*(?:\.\d+)?(?:\s?/\s?\d+)?|\\[dt]?frac\s?\{[^{}]{1,40}\}\s?\{[^{}]{1,40}\}|\\sqrt\s?\{[^{}]{1,40}\}"
    r"|\\pi\b|\([A-H]\)|[A-H](?![\w'\u2019]))(?:\\?%)?"
)
_NEXT_VALUE = re.compile(
    r"[ \t$]*(?:[,;/&|]|\\[)\]])?[ \t$]*(?:and\s+|or\s+|maybe\s+|(?<=[,;/&|\s]))"
    rf"({_VALUE})(?:\\[)\]]|\$)?[ \t]*(?:$|[.;,\n])"
)
_TURN = re.compile(
    r"(?i)(?:^|(?<=[.\n!?,;$)]))[\s$*]*(?:alternatively|actually|wait|no|sorry|correction|hmm|perhaps|maybe|possibly"
    r"|but|otherwise|or|on second thought|instead)\b(?:\s+(?:maybe|perhaps|possibly))?[,:.\s]{0,3}"
    r"(?:(?:it|x|this|that|the\s+\w+|we|i)\s+"
    r"(?:is|are|=|(?:could|might|may|should|would|must|can)\s+(?:also\s+)?be|get|mean|meant)\s+(?:also\s+)?)?"
    rf"[*]{{0,2}}({_VALUE})(?!\w|\.\d|\s+(?:of|is|are|ways?|steps?|more)\b)"
)
_BARE_LINE = re.compile(r"[ \t]*\n\s*[*_\"']*(?P<words>[^\W\d_][\w'-]*(?:[ \t]+[\w'-]+)?)[*_\"'.]*\s*")
_CLOSING_WORDS = re.compile(
    r"(?i)(?:done|end|finished|qed|q\.e\.d|verified|correct|yes|ok(?:ay)?|good luck|all done|the end)"
)
_ALTERNATIVE = re.compile(r"(?i)\s*\$*[,;]?\s*or\b")
_NEGATIVE = re.compile(r"(?i)(?:(?:^|[=$({,\s])[-\u2212]|\b(?:minus|negative)\s+)\$?(?:\\text\{)?$")
_REFUSED_BEFORE = re.compile(
    r"(?i)(?:\b(?:not|never|neither|nor|than|twice|half(?:\s+of)?|double|except|unlike)|n't|\\neq?|\u2260)"
    r"(?:\s+(?:be|equal(?:\s+to)?))?\s*\$*$"
)
_SCALE_BEHIND = re.compile(r"(?i)[\s$]{0,3}(?:\\text\{\s*)?(dozen|hundred|thousand|million|billion|trillion)\b")
_GOES_ON = re.compile(r"\s*(?:\^(?!\s*\{?\s*\\circ)|\\times|\\cdot|!\s*[$=])")
_SPACE_COMMANDS = re.compile(r"\\[,;:! ]|\\q?quad\b|~")

Accepts = Callable[[str], bool]
"""Tells whether an answer would be right on its own."""


class Mark(NamedTuple):
    """A marked answer, with the start and end of its mark in the text."""

    text: str
    start: int
    stop: int


class Boxes(NamedTuple):
    """All closed boxes, and whether the last box is still open."""

    marks: list[Mark]
    is_open: bool


def after_thinking(response: str) -> str:
    """Return the text after the last thinking section; a section that is not closed holds no answer."""
    if "<" not in response and "[" not in response:
        return response
    end = 0
    for closing in _THINKING_END.finditer(response):
        end = closing.end()
    text = response[end:]
    opening = _THINKING_START.search(text)
    return text if opening is None else text[: opening.start()]


def boxes(text: str) -> Boxes:
    r"""Find every `\boxed{...}`; a minus sign before a box and a scale word after it belong to its answer."""
    found: list[Mark] = []
    position = 0
    while (box := _BOX.search(text, position)) is not None:
        stop = closing_brace(text, box.end())
        if stop is None:
            return Boxes(found, True)
        inside = _unwrapped(text[box.end() : stop])
        before = text[max(0, box.start() - 30) : box.start()]
        if _NEGATIVE.search(before) is not None:
            inside = f"-{inside}" if re.fullmatch(r"[\w.,\\{}]+", inside) else f"-({inside})"
        scale = _SCALE_BEHIND.match(text, stop + 1)
        if scale is not None:
            inside = f"{inside} {scale[1]}"
        if _REFUSED_BEFORE.search(before) is not None or _GOES_ON.match(text, stop + 1) is not None:
            inside = ""
        found.append(Mark(inside, box.start(), stop + 1))
        position = stop + 1
    return Boxes(found, False)


def closing_brace(text: str, start: int) -> int | None:
    """Return the index of the brace that closes the one before `start`; escaped braces do not count."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return brace.start()
    return None


def tags(text: str) -> Boxes:
    """Find every `<answer>...</answer>`."""
    found = list(_TAG.finditer(text)) if "<" in text else []
    marks = [Mark(tag[2].strip(), tag.start(), tag.end()) for tag in found if tag[3]]
    return Boxes(marks, bool(found) and not found[-1][3])


def inside_tag(text: str) -> str:
    """Return the text inside the only `<answer>` tag, if it begins a line; else the text itself."""
    found = tags(text)
    if len(found.marks) != 1 or text[: found.marks[0].start].rpartition("\n")[2].strip():
        return text
    return found.marks[0].text


def labelled(text: str) -> list[Mark]:
    """Find the answer after each "the answer is", `Answer:` or `####`: the rest of the sentence, or the next line."""
    found: list[Mark] = []
    labels = list(LABEL.finditer(text)) if "ns" in text or "NS" in text else []
    labels += _LINE_LABEL.finditer(text) if "####" in text else ()
    for label in sorted(labels, key=re.Match.start):
        if found and label.start() < found[-1].stop:
            continue
        line_start = text.rfind("\n", 0, label.start()) + 1
        if _NO_LABEL_BEFORE.search(text[max(line_start, label.start() - 60) : label.start()]) is not None:
            continue
        mark = _line_from(text, label.end())
        if mark is not None:
            found.append(Mark(mark.text, label.start(), mark.stop))
    return found


def final_line(text: str) -> str:
    """Return the last line with content, without emphasis; fences, delimiters and courtesies are not content."""
    for line in reversed(text.splitlines()):
        bare = line.strip()
        if bare and not _DELIMITER_LINE.fullmatch(bare) and not _COURTESY.match(bare):
            return bare.replace("**", "").strip()
    bare = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    return "" if _DELIMITER_LINE.fullmatch(bare) else bare.replace("**", "").strip()


def same_text(one: str, other: str) -> bool:
    """Whether two marked answers are equal, ignoring white space, delimiters and a full stop."""
    return _plain(one) == _plain(other)


def second_answer(tail: str, *, answer: str, accepts: Accepts | None) -> bool:
    """Whether another answer follows a marked one: `, 8`, `or ...`, "Actually, it is 8", "The answer is 8", or a line
    of one or two words after an answer in words.
    """
    if not tail.strip(" .$\n"):
        return False
    if _ALTERNATIVE.match(tail) is not None:
        return True
    tail = tail[:LONGEST_TAIL]
    following = _NEXT_VALUE.match(tail)
    values = [following[1]] if following is not None else []
    values += [turn[1] for turn in _TURN.finditer(tail)]
    bare = _BARE_LINE.fullmatch(tail)
    if bare is not None and not _CLOSING_WORDS.fullmatch(bare["words"]) and not _COURTESY.match(bare["words"]):
        values.append(bare["words"])
    announced = [mark.text for mark in (*labelled(tail), *tags(tail).marks)]
    return any(_competes(value, answer, accepts) for value in (*values, *(a for a in announced if _is_short(a))))


def _line_from(text: str, start: int) -> Mark | None:
    """Return the answer from `start` to the end of its sentence; on a later line if this one has no content."""
    for _ in range(6):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line = text[start : min(end, start + LONGEST_LABELLED)]
        bare = line.strip().strip("*_`").strip()
        if bare.strip(".:") and not _DELIMITER_LINE.fullmatch(bare):
            stop = _sentence_stop(line)
            # A reason also ends an answer, unless it comes before any content.
            reason = _REASON.search(line, 1, stop)
            stop = stop if reason is None or not line[: reason.start()].strip() else reason.start()
            return Mark(line[:stop].replace("**", "").strip().strip("*_").strip(), start, start + stop)
        if end == len(text):
            return None
        start = end + 1
    return None


def _sentence_stop(line: str) -> int:
    for end in _SENTENCE_END.finditer(line):
        word = re.sub(r"[^A-Za-z]", "", end["word"]).casefold()
        is_word = len(word) >= 3 or not word or any(c.isdigit() for c in end["word"])
        if is_word and not _ABBREVIATIONS.fullmatch(word) and end.start() > 0:
            return end.end("mark") if end["mark"] == "?" else end.start("mark")
    return len(line)


def _unwrapped(answer: str) -> str:
    """Return the content, if a box holds nothing but another box."""
    answer = answer.strip()
    box = _BOX.match(answer)
    if box is not None and closing_brace(answer, box.end()) == len(answer) - 1:
        return answer[box.end() : -1].strip()
    return answer


def _plain(answer: str) -> str:
    return _SPACE_COMMANDS.sub("", answer).replace(" ", "").replace("\n", "").strip("$.*").casefold()


def _is_short(announced: str) -> bool:
    return len(announced.split()) <= 8


def _competes(value: str, answer: str, accepts: Accepts | None) -> bool:
    """Whether a value is a different answer from the marked one; words do not compete with a number."""
    plain, marked = _plain(value.strip("()")), _plain(answer.strip("()"))
    if not plain or plain == marked or (accepts is not None and accepts(value.strip().strip("$").strip())):
        return False
    if any(map(str.isdigit, plain)) != any(map(str.isdigit, marked)):
        return False
    return re.search(rf"(?<!\w){re.escape(marked)}(?!\w)", plain) is None if marked else True
