"""IFEval's instructions about words, letters, their case, and the language (arXiv 2311.07911, table 1)."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any

from rewards.ifeval_kwargs import Relation, holds

_WORD = re.compile(r"\w+(?:[-'.]\w+)*")
_DETECTED_CHARACTERS = 10_000
"""Most characters that langdetect reads; a longer text is judged in several pieces."""
_MOST_PIECES = 8


def has_keywords(text: str, *, keywords: list[str]) -> bool:
    """Every keyword occurs, also inside a longer word."""
    folded = text.lower()
    return all(keyword.lower() in folded for keyword in keywords)


def has_keyword_often(text: str, *, keyword: str, frequency: int, relation: Relation = "at least") -> bool:
    """The keyword occurs that often, also inside longer words."""
    return holds(text.lower().count(keyword.lower()), relation=relation, limit=frequency)


def lacks_words(text: str, *, forbidden_words: list[str]) -> bool:
    """The text has none of the words as a whole word."""
    return not any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in forbidden_words)


def has_letter_often(text: str, *, letter: str, let_frequency: int, let_relation: Relation = "at least") -> bool:
    """The letter occurs that often, in either case."""
    return holds(text.lower().count(letter), relation=let_relation, limit=let_frequency)


def has_capital_words_often(text: str, *, capital_frequency: int, capital_relation: Relation = "at least") -> bool:
    """The number of words in capitals has the given relation to `capital_frequency`."""
    capitals = sum(word.isupper() for word in _WORD.findall(text))
    return holds(capitals, relation=capital_relation, limit=capital_frequency)


def is_english_capitals(text: str) -> bool:
    """The text is English and has no lower-case letter."""
    return text.isupper() and is_language(text.lower(), language="en")


def is_english_lowercase(text: str) -> bool:
    """The text is English and has no capital."""
    return text.islower() and is_language(text, language="en")


def lacks_commas(text: str) -> bool:
    """The text has no comma of any script."""
    return not any(
        character == "," or (not character.isascii() and "COMMA" in unicodedata.name(character, ""))
        for character in set(text)
    )


def is_language(text: str, *, language: str) -> bool:
    """Every piece of the text is detected as the language; a text that langdetect cannot judge does not count."""
    from langdetect import LangDetectException

    starts = range(0, len(text), _DETECTED_CHARACTERS)
    kept = starts[:: max(1, len(starts) // _MOST_PIECES)]
    try:
        found = {_detected(text[start : start + _DETECTED_CHARACTERS]) for start in kept}
    except LangDetectException:
        return False
    return all(language in (one, one.partition("-")[0]) for one in found)


def a_language(value: object) -> str:
    """Read a detectable language, given by its ISO 639-1 code; `zh` stands for both Chinese scripts.

    Raises:
        ValueError: the language is not known.
    """
    code = value.strip().lower() if isinstance(value, str) else ""
    if code not in {"zh", *_detectors().get_lang_list()}:
        raise ValueError(f"{value!r:.50} is not a language that can be detected")
    return code


def _detected(text: str) -> str:
    detector = _detectors().create()
    detector.append(text)
    return detector.detect()


@cache
def _detectors() -> Any:
    """Make detectors with a fixed seed, without which equal texts may get different results."""
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    factory.set_seed(0)
    return factory
