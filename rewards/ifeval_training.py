"""The 29 training constraints of IF-RLVR (Pyatkin et al., arXiv 2507.02833), in addition to IFEval's 25.

Source: `open_instruct/IFEvalG`, whose verdicts are the reward of that data. Where that code and the prompt disagree,
these rules apply:

- a word is a word: the code counts punctuation marks as words in `count:count_unique`, `count:counting_composition` and
  `keywords:keyword_specific_position`, so that no answer with two full stops has unique words;
- first and last words are compared without the punctuation around them and in either case, which the code does for last
  words only; words of which one may not follow another are read without it too;
- `count:counting_composition` takes the divider `* * *` of its prompt and the `***` of the code;
- `new:copy_span_idx` says "including" and the code leaves the last character out: either is right;
- `keywords:word_count_different_numbers` says "{frequency} times" and the code takes at least or less than: the gold's
  relation counts, and without one the number is exact;
- `keywords:exclude_word_harder` forbids the word wherever it stands, the code only between two spaces;
- `keywords:word_once` and `count:count_increment_word` also count a keyword inside a longer word, as the code does;
- a palindrome has at least three letters, since the code pays for every `a`; a whole sentence may be one;
- words and sentences that have neighbours are at least two, and neither `[]` nor `<< >>` encloses a word.

The code draws a missing or zero argument by lot; here a missing one is a gold fault and a zero is a zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

from rewards import ifeval_content as content
from rewards import ifeval_layout as layout
from rewards.extraction import plain_characters
from rewards.ifeval_kwargs import (
    Kind,
    Relation,
    a_character,
    a_count,
    a_first_text,
    a_relation,
    a_text,
    an_index,
    given_characters,
    holds,
)
from rewards.ifeval_text import bare_words, sentences, words

_STARS = re.compile(r"\*\s?\*\s?\*")
_SHORTEST_PALINDROME = 3


def repeats_phrase(text: str, *, phrase: str, small_n: int) -> bool:
    """The phrase occurs exactly that often, each time with exactly one of its inner words replaced."""
    wanted = phrase.split()
    found = [one for line in text.splitlines() for one in _stretches(line, wanted[0], wanted[-1])]
    return len(found) == small_n and all(
        len(one) == len(wanted) and sum(a != b for a, b in zip(one, wanted, strict=True)) == 1 for one in found
    )


def _stretches(line: str, first: str, last: str) -> list[list[str]]:
    """Return the stretches of a line from the first word to the next last word."""
    found: list[list[str]] = []
    stop = 0
    while (start := line.find(f"{first} ", stop)) >= 0:
        end = line.find(f" {last}", start + len(first))
        if end < 0:
            break
        stop = end + 1 + len(last)
        found.append(line[start:stop].split())
    return found


def is_copy(text: str, *, prompt_to_repeat: str) -> bool:
    """The text is the prompt and nothing else, in either case."""
    return text.strip().lower() == prompt_to_repeat.lower()


def is_several_copies(text: str, *, prompt_to_repeat: str, n: int) -> bool:
    """The text is the prompt that often, with `******` between the copies."""
    copies = text.split("******")
    return len(copies) == n and all(is_copy(copy, prompt_to_repeat=prompt_to_repeat) for copy in copies)


def is_span(text: str, *, prompt_to_repeat: str, n_start: int, n_end: int) -> bool:
    """The text is the prompt's characters from one index to the other; the last character may be left out."""
    spans = (prompt_to_repeat[n_start:n_end], prompt_to_repeat[n_start : n_end + 1])
    return text.strip().lower() in {plain_characters(span).strip().lower() for span in spans}


def has_hyphens_between_sentences(text: str) -> bool:
    """A hyphen without spaces stands between all sentences, of which there are at least two, and nowhere else."""
    parts = text.split("-")
    return len(parts) > 1 and parts == sentences(text.replace("-", " "))


def has_no_consecutive_initials(text: str) -> bool:
    """No word begins with the letter of the alphabet that follows the first letter of the word before it."""
    initials = [word[0].lower() for word in bare_words(text)]
    return len(initials) > 1 and not any(
        a.isalpha() and b.isalpha() and ord(b) - ord(a) == 1 for a, b in pairwise(initials)
    )


def has_brackets_round_words(text: str) -> bool:
    """Every word is in square brackets."""
    return all(word.startswith("[") and word.endswith("]") and word != "[]" for word in text.split())


def has_keyword_once(text: str, *, keyword: str) -> bool:
    """The keyword occurs exactly once, also inside a longer word."""
    return content.has_keyword_often(text, keyword=keyword, frequency=1, relation="exactly")


def has_keyword_times(text: str, *, keyword: str, frequency: int, relation: Relation = "exactly") -> bool:
    """The keyword occurs that often, also inside longer words."""
    return content.has_keyword_often(text, keyword=keyword, frequency=frequency, relation=relation)


def has_keywords_once_and_twice(text: str, *, keyword1: str, keyword2: str) -> bool:
    """The first keyword occurs exactly once and the second exactly twice, also inside longer words."""
    lowered = text.lower()
    return (lowered.count(keyword1.lower()), lowered.count(keyword2.lower())) == (1, 2)


def lacks_keyword(text: str, *, keyword: str) -> bool:
    """The keyword does not occur as a whole word."""
    return content.lacks_words(text, forbidden_words=[keyword])


def has_two_blocks(text: str) -> bool:
    """The text is two paragraphs with a blank line between them."""
    return len(layout.blocks(text)) == 2


def begins_with_word(text: str, *, first_word: str) -> bool:
    """The first word is the given one."""
    return _edge(text, 0) == _bare(first_word)


def ends_with_word(text: str, *, last_word: str) -> bool:
    """The last word is the given one."""
    return _edge(text, -1) == _bare(last_word)


def begins_sentences_with_word(text: str, *, first_word: str) -> bool:
    """The first word of each sentence is the given one."""
    return all(begins_with_word(sentence, first_word=first_word) for sentence in sentences(text))


def ends_sentences_with_word(text: str, *, last_word: str) -> bool:
    """The last word of each sentence is the given one."""
    return all(ends_with_word(sentence, last_word=last_word) for sentence in sentences(text))


def _edge(text: str, index: int) -> str:
    found = bare_words(text)
    return found[index].lower() if found else ""


def _bare(word: str) -> str:
    return "".join(bare_words(word)).lower()


def wraps_bigrams(text: str) -> bool:
    """Every two words are enclosed in `<<...>>`; an odd last word may be outside."""
    found = text.split()
    couples = list(zip(found[::2], found[1::2], strict=False))
    return bool(couples) and all(
        a.startswith("<<") and b.endswith(">>") and len(a) > 2 and len(b) > 2 for a, b in couples
    )


def lacks_dots(text: str) -> bool:
    """The text has no full stop."""
    return "." not in text


def lacks_exclamation_marks(text: str) -> bool:
    """The text has no exclamation mark."""
    return "!" not in text


def has_few_lowercase_words(text: str, *, n: int) -> bool:
    """At most that many words consist of the letters a to z alone."""
    return len(re.findall(r"\b[a-z]+\b", text)) <= n


def has_letters(text: str, *, n: int, relation: Relation = "at least") -> bool:
    """The text has that many letters from A to Z, in either case."""
    return holds(len(re.findall(r"[a-zA-Z]", text)), relation=relation, limit=n)


def is_composed(text: str, *, n_sent: int, n_words: int) -> bool:
    """There are three paragraphs between dividers `* * *`, with `n_sent` sentences each, and `n_words` words per
    sentence.
    """
    paragraphs = [sentences(paragraph) for paragraph in _STARS.split(text)]
    return len(paragraphs) == 3 and all(
        len(paragraph) == n_sent and all(len(words(sentence)) == n_words for sentence in paragraph)
        for paragraph in paragraphs
    )


def has_unique_words(text: str) -> bool:
    """No word occurs twice, in either case."""
    found = [word.lower() for word in words(text)]
    return len(found) == len(set(found))


def has_palindrome(text: str) -> bool:
    """A word or a sentence reads the same backwards and has at least three letters."""
    candidates = ["".join(bare_words(part)).lower() for part in (*text.split(), *sentences(text))]
    return any(len(one) >= _SHORTEST_PALINDROME and one.isalpha() and one == one[::-1] for one in candidates)


def has_word_at(text: str, *, keyword: str, n: int, m: int) -> bool:
    """The m-th word of the n-th sentence is the keyword, in either case."""
    found = sentences(text)
    return n <= len(found) and [word.lower() for word in words(found[n - 1])][m - 1 : m] == [keyword.lower()]


def begins_and_ends_alike(text: str) -> bool:
    """The first word is also the last, and nothing follows it."""
    found = words(text)
    return len(found) > 1 and found[0].lower() == found[-1].lower() and text.endswith(found[-1])


def has_span(given: Mapping[str, Any]) -> bool:
    """Whether the characters from one index to the other contain more than white space."""
    return bool(given["prompt_to_repeat"][given["n_start"] : given["n_end"] + 1].strip())


def _has_inner_word(given: Mapping[str, Any]) -> bool:
    return len(given["phrase"].split()) > 2


TRAINING: Mapping[str, Kind] = {
    "copy:repeat_phrase": Kind(repeats_phrase, {"phrase": a_text, "small_n": an_index}, fits=_has_inner_word),
    "copy:copy": Kind(is_copy, {"prompt_to_repeat": a_text}),
    "new:copy_span_idx": Kind(
        is_span,
        {"prompt_to_repeat": given_characters, "n_start": a_count, "n_end": a_count},
        fits=has_span,
    ),
    "detectable_format:sentence_hyphens": Kind(has_hyphens_between_sentences, {}),
    "keywords:no_adjacent_consecutive": Kind(has_no_consecutive_initials, {}),
    "detectable_format:square_brackets": Kind(has_brackets_round_words, {}),
    "keywords:word_once": Kind(has_keyword_once, {"keyword": a_text}),
    "keywords:word_count_different_numbers": Kind(
        has_keyword_times, {"keyword": a_text, "frequency": a_count, "relation": a_relation}, ("relation",)
    ),
    "keywords:exclude_word_harder": Kind(lacks_keyword, {"keyword": a_text}),
    "paragraphs:paragraphs": Kind(partial(layout.has_paragraphs, num_paragraphs=2), {}),
    "paragraphs:paragraphs2": Kind(has_two_blocks, {}),
    "first_word:first_word_sent": Kind(begins_sentences_with_word, {"first_word": a_first_text}),
    "first_word:first_word_answer": Kind(begins_with_word, {"first_word": a_first_text}),
    "last_word:last_word_sent": Kind(ends_sentences_with_word, {"last_word": a_first_text}),
    "last_word:last_word_answer": Kind(ends_with_word, {"last_word": a_first_text}),
    "detectable_format:bigram_wrapping": Kind(wraps_bigrams, {}),
    "copy:copying_simple": Kind(is_copy, {"prompt_to_repeat": a_text}),
    "copy:copying_multiple": Kind(is_several_copies, {"prompt_to_repeat": a_text, "N": an_index}),
    "punctuation:punctuation_dot": Kind(lacks_dots, {}),
    "punctuation:punctuation_exclamation": Kind(lacks_exclamation_marks, {}),
    "count:lowercase_counting": Kind(has_few_lowercase_words, {"N": a_count}),
    "letters:letter_counting": Kind(has_letters, {"N": a_count, "relation": a_relation}, ("relation",)),
    "letters:letter_counting2": Kind(
        content.has_letter_often,
        {"letter": a_character, "let_frequency": a_count, "let_relation": a_relation},
        ("let_relation",),
    ),
    "count:counting_composition": Kind(is_composed, {"n_sent": an_index, "n_words": an_index}),
    "count:count_unique": Kind(has_unique_words, {}),
    "count:count_increment_word": Kind(has_keywords_once_and_twice, {"keyword1": a_text, "keyword2": a_text}),
    "keywords:palindrome": Kind(has_palindrome, {}),
    "keywords:keyword_specific_position": Kind(has_word_at, {"keyword": a_first_text, "n": an_index, "m": an_index}),
    "keywords:start_end": Kind(begins_and_ends_alike, {}),
}
