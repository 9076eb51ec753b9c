r"""Brings the LaTeX of final answers into one spelling: first into tokens, then replacements, so that `\\ ` still ends
a row.

`\dfrac12` becomes `\frac{1}{2}`, `\left(` becomes `(`, every kind of space becomes a blank, `90^\circ` and `90 degrees`
become equal, and the words `or` and `and` become the characters `OR` and `AND` of `rewards.latex_spellings`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from rewards.latex_spellings import (
    AND,
    BOLD,
    DEGREE,
    DOTS,
    DROPPED,
    FUNCTIONS,
    OR,
    SKIPPED,
    SPACES,
    SPELLINGS,
    TEXT,
    WORDS,
)

_TOKEN = re.compile(
    r"\\\\(?:\s*\[[^\]]{0,12}\])?|\\(?:begin|end)\s*\{[A-Za-z]+\*?\}|\\[A-Za-z]+\*?|\\.|\.{3}|[A-Za-z]{2,}|\s+|.",
    re.DOTALL,
)
_PLAIN_TEXT = re.compile(r"[-+]?\\?\$?\d[\d.,/ ]*|[eixyznk]|[-+=<>,;:.()\[\]]+")
_NUMBER_AND_WORDS = re.compile(r"([-+]?\\?\$?\d[\d.,/]*(?: \d+/\d+)?) *([A-Za-z%].*)", re.DOTALL)
_TEXT_FRACTION = re.compile(r"\\frac\{\s*\\text\{([A-Za-z ]+)\}\s*\}\{\s*\\text\{([A-Za-z ]+)\}\s*\}")
LONGEST = 4000
MOST_BRACES = 200
"""A text with more braces is left as it is; no answer has so many."""


@lru_cache(maxsize=4096)
def normal(text: str) -> str:
    """Spell an answer, which is in plain characters, as this module does, without paired dollar signs."""
    if len(text) > LONGEST or text.count("{") > MOST_BRACES:
        return text
    if text.count("$") % 2 == 0 and not re.fullmatch(r"\$\d[\d.,]*\$?", text.replace(" ", "")):
        text = re.sub(r"(?<!\\)\$", " ", text)
    text = re.sub(r"\\[()\[\]](?![a-z])", " ", re.sub(r"\\\\", "\ue002", text)).replace("\ue002", r"\\")
    tokens = [piece for token in _TOKEN.findall(text) for piece in _letters(token)]
    written = "".join(_rewritten(tokens))
    written = written.replace("{,}", ",").replace("**", "^").replace("{:}", ":").replace(":=", "=")
    written = _TEXT_FRACTION.sub(r"\\text{\1/\2}", written)
    written = re.sub(r"\^\s*(?:\{\s*)?(?:\\circ|\u00b0)(?:\s*\})?", DEGREE, written)
    written = re.sub(r"[^\S\n]+|\n", " ", written)
    written = re.sub(rf" ?([{OR}{AND},;]) ?", r"\1", written).strip()
    written = re.sub(rf",(?=[{OR}{AND}])", "", written).replace(r"\log_e", r"\ln").replace(r"\log_{e}", r"\ln")
    if re.fullmatch(r"\{[^{}]*\}", written):
        written = written[1:-1].strip()
    return written if written.endswith(DOTS) else written.removesuffix(".").strip()


def _letters(token: str) -> Sequence[str]:
    """Split a run of letters that is not a word of this module: it is a product of letters, or text, where each letter
    counts.
    """
    is_word = token.casefold() in WORDS or token in ("sqrt", "text")
    return token if token.isalpha() and len(token) > 1 and not is_word else (token,)


def argument(tokens: Sequence[str], start: int) -> tuple[list[str], int]:
    """Return the tokens of a command's argument, without braces, and the index after it."""
    while start < len(tokens) and tokens[start].isspace():
        start += 1
    if start >= len(tokens):
        return [], start
    closing = {"{": "}", "(": ")"}.get(tokens[start])
    if closing is None:
        return [tokens[start]], start + 1
    depth = 0
    for index in range(start, len(tokens)):
        depth += (tokens[index] == tokens[start]) - (tokens[index] == closing)
        if depth == 0:
            return list(tokens[start + 1 : index]), index + 1
    return list(tokens[start + 1 :]), len(tokens)


def _rewritten(tokens: Sequence[str]) -> list[str]:
    out: list[str] = []
    index = 0
    while index < len(tokens):
        token = SPELLINGS.get(tokens[index], tokens[index])
        index += 1
        if token in (r"\left", r"\right") and tokens[index : index + 1] == ["."]:
            index += 1
        elif token in DROPPED:
            pass
        elif token in SPACES or token.isspace():
            out.append(" ")
        elif token.startswith(r"\\"):
            out.append(r"\\")
        elif token == r"\frac":
            top, index = _fraction_part(tokens, index)
            bottom, index = _fraction_part(tokens, index)
            out.append(rf"\frac{{{top}}}{{{bottom}}}")
        elif token in (r"\sqrt", "\u221a", "sqrt"):
            index = _root(tokens, index, out)
        elif token in TEXT:
            inside, index = _braced(tokens, index)
            out.append(_words("".join(inside)))
        elif token in BOLD:
            inside, index = argument(tokens, index)
            out.append("".join(_rewritten(inside)))
        elif token in SKIPPED:
            _, index = argument(tokens, index)
        elif token.startswith(r"\begin{array") or token.startswith(r"\begin{tabular"):
            _, index = argument(tokens, index)
            out.append(r"\begin{array}")
        else:
            out.append(WORDS.get(token, WORDS.get(token.casefold(), token)) if token.isalpha() else token)
    return out


def _braced(tokens: Sequence[str], start: int) -> tuple[list[str], int]:
    r"""Return the argument of `\text`, which must be in braces."""
    while start < len(tokens) and tokens[start].isspace():
        start += 1
    return argument(tokens, start) if tokens[start : start + 1] == ["{"] else ([], start)


def _fraction_part(tokens: Sequence[str], start: int) -> tuple[str, int]:
    inside, stop = argument(tokens, start)
    return "".join(_rewritten(inside)).strip(), stop


def _root(tokens: Sequence[str], start: int, out: list[str]) -> int:
    degree = ""
    if tokens[start : start + 1] == ["["] and "]" in tokens[start:]:
        stop = list(tokens).index("]", start)
        degree, start = "[" + "".join(_rewritten(tokens[start + 1 : stop])) + "]", stop + 1
    is_group = start < len(tokens) and tokens[start] in ("{", "(")
    inside, stop = argument(tokens, start)
    while not is_group and inside and inside[-1].isdigit() and tokens[start - 1 : start] in (["\u221a"], ["sqrt"]):
        # `\u221a12` is the root of 12, whereas `\sqrt12` is the root of 1, times 2.
        if stop >= len(tokens) or not tokens[stop].isdigit():
            break
        inside, stop = [*inside, tokens[stop]], stop + 1
    out.append(rf"\sqrt{degree}{{{''.join(_rewritten(inside)).strip()}}}")
    return stop


def _words(inside: str) -> str:
    r"""Rewrite the content of `\text{...}`: a number or name stays, a conjunction becomes its character, all else stays
    text.
    """
    text = " ".join(re.sub(r"\\[,;:! ]", " ", inside).replace("~", " ").replace("$", " ").split())
    folded = text.casefold().strip(" ,.")
    if not text:
        return " "
    if folded in ("or", "and"):
        return WORDS[folded]
    if folded in FUNCTIONS or folded in ("percent", "degrees", "degree", "infinity"):
        return WORDS[folded]
    if _PLAIN_TEXT.fullmatch(text):
        return f" {text} "
    number = _NUMBER_AND_WORDS.fullmatch(text)
    if number is not None:
        return f" {number[1]} {_words(number[2])}"
    if re.fullmatch(r"\\?%", text):
        return r"\%"
    joined = re.fullmatch(r"(?P<word>or|and)\s+(?P<rest>.+)", text)
    if joined is not None:
        return WORDS[joined["word"]] + _words(joined["rest"])
    return rf"\text{{{text}}}"
