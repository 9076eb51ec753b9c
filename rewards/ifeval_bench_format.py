"""IFBench's constraints about sentences and format (Pyatkin et al., arXiv 2507.02833).

Source: `ifbench/instructions.py` of allenai/IFBench, of August 2026. Where that code and the prompt disagree, or where
the code rewards an empty answer, these rules apply:

- constraints that compare sentences or lines need at least two; a balance between kinds of sentences needs each kind;
- `ratio:sentence_words` also requires different words, which the code omits;
- all five brackets of `format:parentheses` must be closed; a quotation mark inside a word is an apostrophe, and curly
  marks are quotation marks;
- `format:quote_unquote` needs a quotation, `format:sub-bullets` a bullet, and `format:output_template` all parts in
  order, each filled in;
- blank lines are allowed between the bullets of `format:no_bullets_bullets` and after its sentences;
- `format:list` counts the separator anywhere, as the code does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise

from rewards.ifeval_kwargs import Kind, a_count, a_text, an_index, options
from rewards.ifeval_text import bare_words, has_content, sentences, unfenced

_CLOSERS = "\"')]}\u201d\u2019\u00bb*_ "
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_CURLY_QUOTES = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'"})
_EDGES = re.compile(r"^[\W_]+|(?<![\W_])[\W_]+$")
_APOSTROPHE = re.compile(r"(?<=\w)'(?=\w)")
_LABELS = ("My Answer:", "My Conclusion:", "Future Outlook:")
_EMOJI = re.compile(
    "[\u203c\u2049\u20e3\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u27bf\u2934-\u2935\u2b05-\u2b55\u3030\u303d"
    "\U0001f000-\U0001faff]"
)
_EMOJI_AT_END = re.compile(rf"{_EMOJI.pattern}\ufe0f?$")


def has_keyword_in_sentence(text: str, *, word: str, n: int) -> bool:
    """The n-th sentence contains the word as a whole word."""
    found = sentences(text)
    pattern = rf"(?<!\w){re.escape(word)}(?!\w)"
    return n <= len(found) and re.search(pattern, found[n - 1], re.IGNORECASE) is not None


def grows_by_words(text: str, *, small_n: int) -> bool:
    """Each sentence has exactly that many words more than the one before."""
    counts = [len(bare_words(sentence)) for sentence in sentences(text)]
    return len(counts) > 1 and all(b - a == small_n for a, b in pairwise(counts))


def grows_in_alliteration(text: str) -> bool:
    """Each sentence has more words in runs with the same first letter than the sentence before."""
    counts = [_alliterating([word[0] for word in bare_words(sentence.lower())]) for sentence in sentences(text)]
    return len(counts) > 1 and all(a < b for a, b in pairwise(counts))


def _alliterating(initials: Sequence[str]) -> int:
    """Count the initials that equal a neighbour."""
    alike = [a == b for a, b in pairwise(initials)]
    return sum(before or after for before, after in zip([False, *alike], [*alike, False], strict=True))


def has_two_statements_a_question(text: str) -> bool:
    """Twice as many sentences end with a full stop as with a question mark, and there is at least one of each."""
    ends = _ends(text)
    return ends.count(".") == 2 * ends.count("?") > 0


def balances_sentences(text: str) -> bool:
    """Equally many sentences end with a full stop, with a question mark and with an exclamation mark."""
    ends = _ends(text)
    return ends.count(".") == ends.count("?") == ends.count("!") > 0


def _ends(text: str) -> list[str]:
    return [sentence.rstrip(_CLOSERS)[-1:] for sentence in sentences(text)]


def has_three_equal_sentences(text: str) -> bool:
    """There are three sentences with the same number of characters, and no word occurs twice."""
    found = sentences(text)
    used = bare_words(text.lower())
    return len(found) == 3 and len({len(one) for one in found}) == 1 and len(used) == len(set(used))


def ends_sentences_with_emoji(text: str) -> bool:
    """Every sentence ends with an emoji, before or after its closing mark."""
    position = 0
    for sentence in sentences(text):
        position = text.index(sentence, position) + len(sentence)
        is_before = _EMOJI_AT_END.search(sentence.rstrip(_CLOSERS + ".!?\u3002")) is not None
        if not is_before and _EMOJI.match(text[position : position + 40].lstrip()) is None:
            return False
    return True


def nests_brackets(text: str, *, depth: int) -> bool:
    """Brackets are nested to that depth, and each is closed by its own kind."""
    levels: list[tuple[str, int]] = []
    for character in text:
        if character in "([{":
            levels.append((character, 0))
        elif character in _BRACKETS and (not levels or levels[-1][0] != _BRACKETS[character]):
            levels.clear()
        elif character in _BRACKETS and _close(levels) >= depth:
            return True
    return False


def nests_quotes(text: str, *, depth: int) -> bool:
    """Quotations are nested to that depth, with double and single marks in turn."""
    levels: list[tuple[str, int]] = []
    for character in re.findall("[\"']", _APOSTROPHE.sub("", text.translate(_CURLY_QUOTES))):
        if not levels or levels[-1][0] != character:
            levels.append((character, 0))
        elif _close(levels) >= depth:
            return True
    return False


def _close(levels: list[tuple[str, int]]) -> int:
    """Close the innermost level and return its depth, which is one more than that of its content."""
    depth = levels.pop()[1] + 1
    if levels:
        levels[-1] = (levels[-1][0], max(levels[-1][1], depth))
    return depth


def is_option(text: str, *, options: list[str]) -> bool:
    """The text is one of the options; letters such as `a)` must match exactly, others ignore case and punctuation."""
    if [_bare(option) for option in options[:3]] == ["a", "b", "c"]:
        return text in options
    return _bare(text) in {_bare(option) for option in options}


def _bare(text: str) -> str:
    return _EDGES.sub("", text).lower()


def has_one_word_a_line(text: str) -> bool:
    """No line has more than one word."""
    return all(len(bare_words(line)) < 2 for line in text.splitlines())


def is_stairs(text: str) -> bool:
    """Each line is indented further than the line before."""
    lines = [line for line in unfenced(text).split("\n") if line.strip()]
    indents = [len(line) - len(line.lstrip()) for line in lines]
    return len(lines) > 1 and all(a < b for a, b in pairwise(indents))


def explains_quotes(text: str) -> bool:
    """Each quotation is followed by unquoted text, so the text does not end with one."""
    packed = "".join(text.translate(_CURLY_QUOTES).replace("'\"'", "").split())
    trailing = re.sub(r"[^\w\"]|[\d_]", "", packed[-200:])
    return packed.count('"') > 1 and '""' not in packed and not trailing.endswith('"')


def has_separators(text: str, *, sep: str) -> bool:
    """The separator occurs at least twice."""
    return text.count(sep) >= 2


def has_italic_thesis(text: str) -> bool:
    """Text in `<i>` or `<em>` is followed by more text."""
    _, _, rest = re.sub("<(/?)em>", r"<\1i>", text).partition("<i>")
    thesis, closed, body = rest.partition("</i>")
    return bool(closed) and has_content(thesis) and has_content(body)


def has_sub_bullets(text: str) -> bool:
    """There is a bullet `*`, and below each a line with `-`."""
    lines = [line.strip() for line in text.splitlines() if has_content(line)]
    marks = "".join(line[0] for line in lines if line[0] == "-" or (line[0] == "*" and line[1] != "*"))
    return re.fullmatch(r"-*(?:\*-+)+", marks) is not None


def has_sentences_before_bullets(text: str) -> bool:
    """At least two sentences with a full stop are followed by nothing but two or more bullets `*`."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    start = next((index for index, line in enumerate(lines) if line.startswith("*") and line[1:2] != "*"), len(lines))
    bullets = lines[start:]
    return (
        _ends("\n".join(lines[:start])).count(".") >= 2
        and len(bullets) >= 2
        and all(line.startswith("*") and has_content(line) for line in bullets)
    )


def fills_template(text: str) -> bool:
    """The three labels of the prompt occur in order, each followed by text."""
    rest = text
    parts: list[str] = []
    for label in _LABELS:
        before, _, rest = rest.partition(label)
        parts.append(before)
    return all(has_content(part) for part in [*parts[1:], rest])


def lacks_white_space(text: str) -> bool:
    """The text has no white space."""
    return not any(character.isspace() for character in text)


FORMAT: Mapping[str, Kind] = {
    "sentence:keyword": Kind(has_keyword_in_sentence, {"word": a_text, "N": an_index}),
    "sentence:increment": Kind(grows_by_words, {"small_n": a_count}),
    "sentence:alliteration_increment": Kind(grows_in_alliteration, {}),
    "ratio:sentence_type": Kind(has_two_statements_a_question, {}),
    "ratio:sentence_balance": Kind(balances_sentences, {}),
    "ratio:sentence_words": Kind(has_three_equal_sentences, {}),
    "format:emoji": Kind(ends_sentences_with_emoji, {}),
    "format:parentheses": Kind(partial(nests_brackets, depth=5), {}),
    "format:quotes": Kind(partial(nests_quotes, depth=3), {}),
    "format:options": Kind(is_option, {"options": options}),
    "format:newline": Kind(has_one_word_a_line, {}),
    "format:line_indent": Kind(is_stairs, {}),
    "format:quote_unquote": Kind(explains_quotes, {}),
    "format:list": Kind(has_separators, {"sep": a_text}),
    "format:thesis": Kind(has_italic_thesis, {}),
    "format:sub-bullets": Kind(has_sub_bullets, {}),
    "format:no_bullets_bullets": Kind(has_sentences_before_bullets, {}),
    "format:output_template": Kind(fills_template, {}),
    "format:no_whitespace": Kind(lacks_white_space, {}),
}
