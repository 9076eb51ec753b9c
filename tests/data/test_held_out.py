"""Held-out questions leave the training data in every wording that can be recognised."""

import time
from collections.abc import Sequence
from typing import Any

from opened import load_examples

from rlpost.data.held_out import questions_of
from rlpost.recipe.sections import DataConfig
from rlpost.records import Example, Message, assistant_turn


def asked(*turns: str, meta: dict[str, Any] | None = None) -> Example:
    roles = ["user", "assistant"] * len(turns)
    messages = tuple(Message(role=role, content=text) for role, text in zip(roles, turns, strict=False))
    return Example(id=f"s/{turns[0]}", dataset="s", messages=messages, meta=meta or {})


def remove_held_out(examples: Sequence[Example], *, held_out: Sequence[Example]) -> tuple[list[Example], int]:
    """The examples that ask no held-out question, and the number of the others."""
    forbidden = {question for example in held_out for question in questions_of(example)}
    kept = [example for example in examples if forbidden.isdisjoint(questions_of(example))]
    return kept, len(examples) - len(kept)


def test_equal_questions_are_removed_regardless_of_case_space_and_width() -> None:
    held_out = [asked("What is 1 + 2?")]
    training = [asked("what  is 1 + 2?\n"), asked("What is \uff11 + 2?"), asked("What is 1 + 3?")]
    kept, removed = remove_held_out(training, held_out=held_out)
    assert (kept, removed) == ([training[2]], 2)


def test_the_answer_and_the_system_message_do_not_matter_but_every_user_turn_does() -> None:
    with_system = Example(
        id="s/1",
        dataset="s",
        messages=(Message(role="system", content="x"), Message(role="user", content="q")),
        completion=assistant_turn("a"),
    )
    longer = asked("q", "a", "r")
    kept, removed = remove_held_out([with_system, longer], held_out=[asked("q")])
    assert (kept, removed) == ([longer], 1)


def test_documents_and_rows_without_a_question_stay() -> None:
    documents = [Example(id="s/0", dataset="s", text="q"), Example(id="s/1", dataset="s", text="q")]
    assert remove_held_out(documents, held_out=[*documents, asked("q")]) == (documents, 0)


def test_a_question_in_other_words_of_the_recipe_is_still_found() -> None:
    def load(name: str, instruction: str | None, rows: int) -> list[Example]:
        params = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
        source = "reasoning_gym:chain_sum"
        config = DataConfig(source=source, rows=rows, seed=0, params=params, instruction=instruction)
        return load_examples(name, config)

    held_out = load("test", None, 20)
    training = load("train", "{expression} = ?", 60)
    kept, removed = remove_held_out(training, held_out=held_out)
    expressions = {example.meta["reasoning_gym"]["entry"]["metadata"]["expression"] for example in held_out}
    assert removed >= 20
    assert len(kept) + removed == 60
    assert not any(example.messages[0].content.removesuffix(" = ?") in expressions for example in kept)


def test_a_column_that_is_called_question_is_no_prompt() -> None:
    """Data sets of scenes ask one question of many texts."""
    generic = {"question": "What is the answer?"}
    held_out = [asked(f"text {n}", meta=generic) for n in range(5)]
    training = [asked(f"other text {n}", meta=generic) for n in range(20)]
    assert remove_held_out(training, held_out=held_out) == (training, 0)


def test_a_row_of_combining_marks_takes_no_time_and_is_still_found() -> None:
    marks = "a" + "\u0301\u0316" * 200_000
    began_s = time.process_time()
    kept, removed = remove_held_out([asked(marks), asked("b")], held_out=[asked(marks)])
    assert (len(kept), removed) == (1, 1)
    assert time.process_time() - began_s < 5


def test_marks_in_another_order_are_the_same_letter() -> None:
    assert remove_held_out([asked("e\u0301\u0323")], held_out=[asked("e\u0323\u0301")]) == ([], 1)
