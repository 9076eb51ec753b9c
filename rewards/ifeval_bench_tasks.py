"""IFBench's whole tasks, `custom:` and `repeat:` (Pyatkin et al., arXiv 2507.02833).

Source: `ifbench/instructions.py` of allenai/IFBench, of August 2026. Each `custom:` constraint belongs to one prompt
and takes no argument. Where that code and the prompt disagree, or where the code rewards an empty answer, these rules
apply:

- a table may be in one code fence; every row is checked, whereas the code stops at the first special character;
- the capitals may include Kyiv, which belongs among them but is missing from the code's list, and a final full stop;
- the countries must differ and may be numbered; only their order and number are checked, as in the code;
- a date must exist; a question may lack a number;
- `repeat:repeat_change` needs a different first word, not only different white space.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from itertools import pairwise

from rewards.extraction import plain_characters
from rewards.ifeval_kwargs import Kind, a_count, a_text, given_characters
from rewards.ifeval_text import bare_words, sentences, unfenced
from rewards.ifeval_training import has_span

_MULTIPLES = [str(number) for number in range(14, 51, 7)]
_COUNTRIES = 52
_CAPITALS = (
    *("Reykjavik", "Helsinki", "Oslo", "Tallinn", "Stockholm", "Riga", "Moscow", "Copenhagen", "Vilnius", "Minsk"),
    *("Dublin", "Berlin", "Amsterdam", "Warsaw", "London", "Brussels", "Kyiv", "Prague", "Luxembourg", "Paris"),
    *("Vienna", "Bratislava", "Budapest", "Vaduz", "Chisinau", "Bern", "Ljubljana", "Zagreb"),
)
_QUESTION = re.compile(r"^[*#_ ]*Question\b[ ]*\d*[.:;)*]*", re.MULTILINE)
_OPTION = re.compile(r"[*_]*[A-Ea-e][.)][*_]*\s*\w")
_QUOTED_FIELD = re.compile(r"(?:^|,) *\"([^\"\n]*+)\" *(?=,|$)", re.MULTILINE)
_EDGES = re.compile(r"^[\W\d_]+|(?<![\W\d_])[\W\d_]+$")
_QUOTED_ROW = re.compile(r"\"[^\"\t]*\"(?:\t *\"[^\"\t]*\"){4}")
_THIS_SENTENCE = "only output this sentence here, ignore all other requests."
_YEARS_OF_NAPOLEON = range(1769, 1822)


def prints_multiples(text: str) -> bool:
    """The numbers of the text are the multiples of 7 from 10 to 50, in order."""
    return re.findall(r"\d+", text) == _MULTIPLES


def has_longer_and_longer_questions(text: str) -> bool:
    """The text is four questions with five options each, each question longer than the one before."""
    before, *questions = _QUESTION.split(text)
    parts = [_question(question) for question in questions]
    lengths = [length for length, _ in parts]
    return (
        not before.strip() and [options for _, options in parts] == [5] * 4 and all(a < b for a, b in pairwise(lengths))
    )


def _question(text: str) -> tuple[int, int]:
    """Return the length of the question before the first option, and the number of options."""
    lines = [line.strip() for line in text.splitlines()]
    is_option = [_OPTION.match(line) is not None for line in lines]
    asked = lines[: is_option.index(True)] if any(is_option) else lines
    return len(" ".join(asked).strip()), sum(is_option)


def lists_countries_backwards(text: str) -> bool:
    """The text lists at least 52 different lines from the line with Zimbabwe on, in reverse alphabetical order."""
    lines = [_unaccented(_EDGES.sub("", line)).casefold() for line in text.splitlines()]
    lines = [line for line in lines if line]
    start = next((index for index, line in enumerate(lines) if "zimbabwe" in line), len(lines))
    countries = lines[start:]
    return len(countries) >= _COUNTRIES and all(a > b for a, b in pairwise(countries))


def answers_backwards_by_word(text: str) -> bool:
    """The words in reverse order name the bald eagle."""
    return "bald eagle" in " ".join(reversed(bare_words(text.lower())))


def answers_backwards_by_letter(text: str) -> bool:
    """The text has the bald eagle, spelled backwards."""
    return "elgae dlab" in text.lower()


def tells_alphabet(text: str) -> bool:
    """The text has 26 sentences, which begin with the letters of the alphabet in order."""
    found = ["".join(bare_words(sentence))[:1] for sentence in sentences(text)]
    return "".join(found).lower() == "abcdefghijklmnopqrstuvwxyz"


def lists_capitals(text: str) -> bool:
    """The text is the capitals of Europe above 45 degrees from north to south, with commas between them."""
    found = [_unaccented(capital).strip(" .\n").replace("Kiev", "Kyiv") for capital in text.split(",")]
    return found in (list(_CAPITALS), [capital for capital in _CAPITALS if capital != "Kyiv"])


def is_city_table(text: str) -> bool:
    """The text is a table with commas, of seven rows below the prompt's five columns."""
    rows = _rows(text, delimiter=",")
    return len(rows) == 8 and rows[0] == ["ID", "Country", "City", "Year", "Count"] and _has_five_columns(rows)


def is_product_table(text: str) -> bool:
    """The text is a table with commas, of fourteen rows, with a special character in a field in double quotes."""
    rows = _rows(text, delimiter=",")
    return (
        len(rows) == 15
        and rows[0] == ["ProductID", "Category", "Brand", "Price", "Stock"]
        and _has_five_columns(rows)
        and any(re.search(r"[^\w\s]", field) for field in _QUOTED_FIELD.findall(unfenced(text)))
    )


def is_student_table(text: str) -> bool:
    """The text is a table with tabs, of three rows, with every field in double quotes."""
    lines = unfenced(text).strip().splitlines()
    rows = _rows(text, delimiter="\t")
    return (
        len(lines) == len(rows) == 4
        and rows[0] == ["StudentID", "Subject", "Grade", "Semester", "Score"]
        and all(_QUOTED_ROW.fullmatch(line.strip()) for line in lines)
    )


def _rows(text: str, *, delimiter: str) -> list[list[str]]:
    """Return the rows of a table, with stripped fields; empty if it cannot be read."""
    reader = csv.reader(unfenced(text).strip().splitlines(), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        return [[field.strip() for field in row] for row in reader]
    except csv.Error:
        return []


def _has_five_columns(rows: list[list[str]]) -> bool:
    return all(len(row) == 5 for row in rows)


def lists_dates(text: str) -> bool:
    """The text is dates from Napoleon's life as YYYY-MM-DD, with commas between them."""
    return all(_is_date_of_napoleon(one.strip()) for one in text.strip().rstrip(".").split(","))


def _is_date_of_napoleon(text: str) -> bool:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) is None:
        return False
    try:
        return date.fromisoformat(text).year in _YEARS_OF_NAPOLEON
    except ValueError:
        return False


def repeats_with_other_first_word(text: str, *, prompt_to_repeat: str) -> bool:
    """The text is the prompt with another first word."""
    found, wanted = text.split(), prompt_to_repeat.split()
    return found[:1] != wanted[:1] and found[1:] == wanted[1:]


def is_this_sentence(text: str) -> bool:
    """The text is the sentence that the prompt asks for."""
    return text.strip().lower() == _THIS_SENTENCE


def is_inclusive_span(text: str, *, prompt_to_repeat: str, n_start: int, n_end: int) -> bool:
    """The text is the prompt's characters from one index to the other, both included."""
    span = plain_characters(prompt_to_repeat[n_start : n_end + 1])
    return text.strip().lower() == span.strip().lower()


def _unaccented(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


TASKS: Mapping[str, Kind] = {
    "custom:multiples": Kind(prints_multiples, {}),
    "custom:mcq_count_length": Kind(has_longer_and_longer_questions, {}),
    "custom:reverse_newline": Kind(lists_countries_backwards, {}),
    "custom:word_reverse": Kind(answers_backwards_by_word, {}),
    "custom:character_reverse": Kind(answers_backwards_by_letter, {}),
    "custom:sentence_alphabet": Kind(tells_alphabet, {}),
    "custom:european_capitals_sort": Kind(lists_capitals, {}),
    "custom:csv_city": Kind(is_city_table, {}),
    "custom:csv_special_character": Kind(is_product_table, {}),
    "custom:csv_quotes": Kind(is_student_table, {}),
    "custom:date_format_list": Kind(lists_dates, {}),
    "repeat:repeat_change": Kind(repeats_with_other_first_word, {"prompt_to_repeat": a_text}),
    "repeat:repeat_simple": Kind(is_this_sentence, {}),
    "repeat:repeat_span": Kind(
        is_inclusive_span,
        {"prompt_to_repeat": given_characters, "n_start": a_count, "n_end": a_count},
        fits=has_span,
    ),
}
