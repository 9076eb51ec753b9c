"""IFBench's constraints about words, letters and counts (Pyatkin et al., arXiv 2507.02833).

Source: `ifbench/instructions.py` of allenai/IFBench, of August 2026. Where that code and the prompt disagree, or where
the code rewards an empty answer, these rules apply:

- words are compared without punctuation and in lower case, even where the code compares `Rain,` with `rain`; `And` and
  `and` are the same conjunction, and an empty word is not a unique word;
- constraints on neighbours need two words, `count:words_japanese` needs N words, and the ten palindromes of
  `words:palindrome` must be different words made of letters;
- `ratio:overlap` counts groups of three characters, and `count:numbers` the digits that remain of `10-20` without its
  hyphen; both follow the code, although the prompts can be read differently;
- `format:title_case` allows small articles, conjunctions and short prepositions except at the beginning, since the
  prompt says "major word"; the code does not;
- `words:start_verb` uses a list of common verbs, and `words:odd_even_syllables` counts syllables by spelling, whereas
  the code uses a statistical tagger and a dictionary: both are approximations.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from rewards.ifeval_kwargs import Kind, a_count, a_text, an_index
from rewards.ifeval_syllables import count_syllables
from rewards.ifeval_text import bare_words, sentences, words
from rewards.ifeval_training import has_word_at
from rewards.ifeval_word_lists import (
    CONJUNCTIONS,
    IRREGULAR_FORMS,
    MINOR_WORDS,
    NO_PARTICIPLES,
    PERSON_NAMES,
    PRONOUNS,
    STOP_WORDS,
    VERBS,
)

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_CLUSTER = re.compile(r"[b-df-hj-np-tv-z]{2}")
_CONTRACTED = re.compile("(?:n['\u2019]t|['\u2019].*)$")
_PRIMES = frozenset(n for n in range(2, 100) if all(n % divisor for divisor in range(2, n)))
_KEYWORD_COUNTS = (1, 2, 3, 5, 7)
_SHORTEST_PALINDROME, _LEAST_PALINDROMES = 5, 10


def has_words_between(text: str, *, min_words: int, max_words: int) -> bool:
    """The number of words is in the range, including its ends."""
    return min_words <= len(re.findall(r"\w+", text)) <= max_words


def has_unique_words(text: str, *, n: int) -> bool:
    """There are at least that many different words."""
    return len(set(bare_words(text.lower()))) >= n


def has_conjunctions(text: str, *, small_n: int) -> bool:
    """There are at least that many different coordinating conjunctions."""
    return len(CONJUNCTIONS & set(bare_words(text.lower()))) >= small_n


def has_person_names(text: str, *, n: int) -> bool:
    """There are at least that many different names from the prompt's list."""
    return len(PERSON_NAMES & set(re.findall(r"\b[A-Z][a-z]+\b", text))) >= n


def has_numbers(text: str, *, n: int) -> bool:
    """There are exactly that many runs of digits after all punctuation is removed: `1,000.5` is one."""
    return len(re.findall(r"\d+", text.translate(_NO_PUNCTUATION))) == n


def has_all_punctuation(text: str) -> bool:
    """The text has an interrobang (`?!`, `!?` or one sign) and, beside it, each of `. , ! ? ; :`."""
    rest = re.sub(r"\?!|!\?|\u203d", "", text, count=1)
    return rest != text and all(mark in rest for mark in ".,!?;:")


def has_japanese_words(text: str, *, n: int) -> bool:
    """There are at least n words, and every n-th word contains a Japanese character unless it is a number."""
    picked = [word.strip(string.punctuation) for word in text.split()[n - 1 :: n]]
    return bool(picked) and all(not word or word.isdigit() or _JAPANESE.search(word) for word in picked)


def has_pronouns(text: str, *, n: int) -> bool:
    """There are at least that many pronouns, including those in contractions such as `I'm` and in `she/her`."""
    return sum(word in PRONOUNS for word in re.findall(r"[^\W\d_]+", text.lower())) >= n


def has_keywords_times(text: str, **keywords: str) -> bool:
    """Five keywords occur exactly 1, 2, 3, 5 and 7 times, also inside longer words."""
    lowered = text.lower()
    wanted = [keywords[f"keyword{number}"].lower() for number in range(1, 6)]
    return all(lowered.count(one) == count for one, count in zip(wanted, _KEYWORD_COUNTS, strict=True))


def has_few_stop_words(text: str, *, percentage: int) -> bool:
    """At most that percentage of the words are stop words."""
    found = re.findall(r"\w+", text.lower())
    return bool(found) and 100 * sum(word in STOP_WORDS for word in found) <= percentage * len(found)


def overlaps(text: str, *, reference_text: str, percentage: int) -> bool:
    """The reference contains that percentage of the text's different groups of three characters, give or take 2."""
    groups, wanted = _groups_of_three(text), _groups_of_three(reference_text)
    return bool(groups) and abs(100 * len(groups & wanted) - percentage * len(groups)) <= 2 * len(groups)


def _groups_of_three(text: str) -> set[str]:
    return {text[start : start + 3] for start in range(len(text) - 2)}


def loops_alphabet(text: str) -> bool:
    """The first letter of each word follows that of the previous word in the alphabet, and A follows Z."""
    initials = [string.ascii_lowercase.find(word[0]) for word in bare_words(text.lower())]
    return len(initials) > 1 and initials[0] >= 0 and all((a + 1) % 26 == b for a, b in pairwise(initials))


def has_few_vowels(text: str) -> bool:
    """The text is one paragraph and has at most three of the five vowels."""
    return "\n" not in text.strip() and len(set("aeiou") & set(text.lower())) <= 3


def has_consonant_clusters(text: str) -> bool:
    """Each word has two consonants in a row."""
    found = [word for word in text.lower().split() if bare_words(word)]
    return all(_CLUSTER.search(word) for word in found)


def has_palindromes(text: str) -> bool:
    """At least ten different words of five letters or more read the same backwards."""
    found = {word for word in bare_words(text.lower()) if word == word[::-1] and word.isalpha()}
    return sum(len(word) >= _SHORTEST_PALINDROME for word in found) >= _LEAST_PALINDROMES


def has_prime_lengths(text: str) -> bool:
    """The length of each word is a prime number."""
    return all(len(word) in _PRIMES for word in bare_words(text))


def begins_with_verb(text: str) -> bool:
    """The first word is a form of a common English verb."""
    first = re.search(r"[^\W\d_]+(?:['\u2019][a-z]+)?", text.lower())
    return first is not None and is_verb(_CONTRACTED.sub("", first[0]))


def is_verb(word: str) -> bool:
    """Whether the word is in the list of verbs, is one of them with a regular ending, or ends with `ing`."""
    if word.endswith("ing") and word not in NO_PARTICIPLES and re.search("[aeiouy]", word[:-3]):
        return True
    bases = [word]
    for ending, endings in (("s", ("", "e")), ("es", ("",)), ("ed", ("", "e"))):
        if word.endswith(ending):
            stem = word[: -len(ending)]
            bases += [stem + end for end in endings if len(stem) > 1]
            bases += [stem[:-1]] * (len(stem) > 2 and stem[-1] == stem[-2] and ending == "ed")
            bases += [stem[:-1] + "y"] * (stem.endswith("i") and ending in ("es", "ed"))
    return word in IRREGULAR_FORMS or any(base in VERBS for base in bases)


def repeats_few_words(text: str, *, small_n: int) -> bool:
    """No word occurs more often than that."""
    return max(Counter(bare_words(text.lower())).values(), default=0) <= small_n


def alternates_syllables(text: str) -> bool:
    """Words with an odd and with an even number of syllables alternate."""
    parities = [count_syllables(word) % 2 for word in bare_words(text.lower())]
    return len(parities) > 1 and all(a != b for a, b in pairwise(parities))


def chains_sentences(text: str) -> bool:
    """The last word of each sentence is the first of the next."""
    found = [bare_words(sentence.lower()) for sentence in sentences(text)]
    return len(found) > 1 and all(a[-1:] == b[:1] for a, b in pairwise(found))


def frames_paragraphs(text: str) -> bool:
    """Each line ends with the word that it begins with, and has at least two words."""
    found = [bare_words(line.lower()) for line in text.splitlines()]
    return all(len(line) > 1 and line[0] == line[-1] for line in found if line)


def has_no_equal_initials(text: str) -> bool:
    """No word begins like the word before it."""
    initials = [word[0] for word in bare_words(text.lower())]
    return len(initials) > 1 and all(a != b for a, b in pairwise(initials))


def has_word_second_and_last_but_one(text: str, *, keyword: str) -> bool:
    """The keyword is the second word and the second to last word."""
    found = [word.lower() for word in words(text)]
    return len(found) > 2 and found[1] == found[-2] == keyword.lower()


def is_title_case(text: str) -> bool:
    """Every word begins with a capital, except minor words after the first one and words such as `iPhone`."""
    return not any(
        word[0].islower()
        and word[1:] in (word[1:].lower(), word[1:].upper())
        and (not index or word not in MINOR_WORDS)
        for index, word in enumerate(words(text))
    )


def _is_range(given: Mapping[str, Any]) -> bool:
    return given["min_words"] <= given["max_words"]


WORDS: Mapping[str, Kind] = {
    "count:word_count_range": Kind(has_words_between, {"min_words": a_count, "max_words": an_index}, fits=_is_range),
    "count:unique_word_count": Kind(has_unique_words, {"N": a_count}),
    "count:conjunctions": Kind(has_conjunctions, {"small_n": a_count}),
    "count:person_names": Kind(has_person_names, {"N": a_count}),
    "count:numbers": Kind(has_numbers, {"N": a_count}),
    "count:punctuation": Kind(has_all_punctuation, {}),
    "count:words_japanese": Kind(has_japanese_words, {"N": an_index}),
    "count:pronouns": Kind(has_pronouns, {"N": a_count}),
    "count:keywords_multiple": Kind(has_keywords_times, {f"keyword{number}": a_text for number in range(1, 6)}),
    "ratio:stop_words": Kind(has_few_stop_words, {"percentage": a_count}),
    "ratio:overlap": Kind(overlaps, {"reference_text": a_text, "percentage": a_count}),
    "words:alphabet": Kind(loops_alphabet, {}),
    "words:vowel": Kind(has_few_vowels, {}),
    "words:consonants": Kind(has_consonant_clusters, {}),
    "words:palindrome": Kind(has_palindromes, {}),
    "words:prime_lengths": Kind(has_prime_lengths, {}),
    "words:start_verb": Kind(begins_with_verb, {}),
    "words:repeats": Kind(repeats_few_words, {"small_n": an_index}),
    "words:odd_even_syllables": Kind(alternates_syllables, {}),
    "words:last_first": Kind(chains_sentences, {}),
    "words:paragraph_last_first": Kind(frames_paragraphs, {}),
    "words:no_consecutive": Kind(has_no_equal_initials, {}),
    "words:keywords_specific_position": Kind(has_word_at, {"keyword": a_text, "n": an_index, "m": an_index}),
    "words:words_position": Kind(has_word_second_and_last_but_one, {"keyword": a_text}),
    "format:title_case": Kind(is_title_case, {}),
}
