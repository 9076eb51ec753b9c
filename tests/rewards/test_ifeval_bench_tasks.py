from __future__ import annotations

from typing import Any

import pytest
from ifeval_judging import judged, one, pairs

from rewards.ifeval_bench_tasks import TASKS

OPTIONS = "\n".join(f"{letter}) {letter} it is" for letter in "ABCDE")
QUESTIONS = "\n\n".join(f"Question {n}: Who painted{' more' * n}?\n{OPTIONS}" for n in range(1, 5))
COUNTRIES = [f"{letter}{other}land" for letter in "yxwvutsrqpo" for other in "uoiea"]
BACKWARDS = "\n".join(["Zimbabwe", "Zambia", *COUNTRIES]).title()
NUMBERED = "\n".join(f"{n}. {line}" for n, line in enumerate(BACKWARDS.split("\n"), start=1))
STORY = " ".join(f"{letter}nd so it was." for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
CAPITALS = (
    "Reykjav\u00edk, Helsinki, Oslo, Tallinn, Stockholm, Riga, Moscow, Copenhagen, Vilnius, Minsk, Dublin, Berlin, "
    "Amsterdam, Warsaw, London, Brussels, Prague, Luxembourg, Paris, Vienna, Bratislava, Budapest, Vaduz, "
    "Chi\u0219in\u0103u, Bern, Ljubljana, Zagreb"
)
CITIES = "ID,Country,City,Year,Count\n" + "\n".join(f'{n},Chad,"N, D",2000,{n}' for n in range(7))
PRODUCTS = "ProductID,Category,Brand,Price,Stock\n" + "\n".join(f'{n},Toys,"A&B",1.5,{n}' for n in range(14))
STUDENTS = "\n".join(["\t".join(f'"{name}"' for name in ("StudentID", "Subject", "Grade", "Semester", "Score"))] * 4)
SENTENCE = "Only output this sentence here, ignore all other requests."
SPAN = {"prompt_to_repeat": " Write a tale", "n_start": 1, "n_end": 5}
FOLLOWED: list[tuple[str, dict[str, Any], str, str]] = [
    ("custom:multiples", {}, "14,21, 28\n35 42 49", "7, 14, 21, 28, 35, 42, 49"),
    ("custom:mcq_count_length", {}, QUESTIONS, QUESTIONS.rpartition("\n")[0]),
    (
        "custom:mcq_count_length",
        {},
        QUESTIONS.replace("Question 1:", "**Question 1:**"),
        f"Here they are.\n{QUESTIONS}",
    ),
    ("custom:mcq_count_length", {}, QUESTIONS, QUESTIONS.replace(" more more more more", " mo")),
    ("custom:reverse_newline", {}, f"Here:\n{BACKWARDS}", "\n".join(sorted(BACKWARDS.split("\n")))),
    ("custom:reverse_newline", {}, NUMBERED, "\n".join(["Zimbabwe"] * 60)),
    ("custom:word_reverse", {}, "Eagle bald the is it.", "It is the bald eagle."),
    ("custom:character_reverse", {}, ".elgae dlab eht si tI", "It is the bald eagle."),
    ("custom:sentence_alphabet", {}, STORY, STORY.replace("Bnd", "Cnd")),
    ("custom:sentence_alphabet", {}, STORY.replace("Cnd", '"Cnd'), f"{STORY} And so on."),
    ("custom:european_capitals_sort", {}, CAPITALS, CAPITALS.replace("Oslo, Tallinn", "Tallinn, Oslo")),
    ("custom:european_capitals_sort", {}, CAPITALS.replace("Prague", "Kyiv, Prague") + ".", f"{CAPITALS}, Rome"),
    ("custom:csv_city", {}, CITIES, CITIES.rpartition("\n")[0]),
    ("custom:csv_city", {}, f"```csv\n{CITIES}\n```", CITIES.replace('"N, D"', "N, D", 1)),
    ("custom:csv_special_character", {}, PRODUCTS, PRODUCTS.replace("&", "")),
    ("custom:csv_special_character", {}, PRODUCTS, PRODUCTS.replace('"', "")),
    ("custom:csv_special_character", {}, PRODUCTS, PRODUCTS.replace("&", "").replace("Toys", '"Toys"')),
    ("custom:csv_quotes", {}, STUDENTS, STUDENTS.replace("\t", ",")),
    ("custom:csv_quotes", {}, STUDENTS, STUDENTS.replace('"Grade"', "Grade", 1)),
    ("custom:date_format_list", {}, "1796-04-12, 1805-12-02", "1796-04-12, 1805-13-02"),
    ("custom:date_format_list", {}, "1796-02-29.", "1797-02-29"),
    ("custom:date_format_list", {}, "1815-06-18", "On 1815-06-18"),
    ("repeat:repeat_change", {"prompt_to_repeat": "Write a tale"}, "Tell a tale", "Write a tale"),
    ("repeat:repeat_change", {"prompt_to_repeat": "Write a tale"}, "Read a tale", "Read a story"),
    ("repeat:repeat_simple", {}, SENTENCE, f"{SENTENCE} Done."),
    ("repeat:repeat_span", SPAN, "Write", "Writ"),
    ("repeat:repeat_span", {**SPAN, "n_start": 0, "n_end": 2}, "wr", " W"),
]


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), pairs(FOLLOWED))
def test_a_constraint_is_followed_or_not(name: str, arguments: dict[str, Any], good: str, bad: str) -> None:
    assert [judged(response, one(name, **arguments)).score for response in (good, bad)] == [1.0, 0.0]


def test_each_task_is_tested_above() -> None:
    assert {row[0] for row in FOLLOWED} == set(TASKS)
