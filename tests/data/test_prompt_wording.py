"""Instructions are filled by name; everything else in them stands as written."""

import pytest

from rlpost.data.plain_data import plain
from rlpost.data.prompt_wording import fill_instruction, reword
from rlpost.errors import DataError
from rlpost.records import Example, Message


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{question} Put it in \\boxed{}.", "2+2? Put it in \\boxed{}."),
        ("{{question}}", "{question}"),
        ("x^{2} and {level}", "x^{2} and 3"),
        ("{question.__class__} {question!r} {question:>9}", "{question.__class__} {question!r} {question:>9}"),
    ],
)
def test_only_simple_names_are_replaced(template: str, expected: str) -> None:
    assert fill_instruction(template, question="2+2?", metadata={"level": 3}) == expected


def test_braces_inside_a_value_are_not_filled_again() -> None:
    assert fill_instruction("{question}", question="{level}", metadata={"level": 3}) == "{level}"


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"names \{qestion\}.*did you mean \{question\}\?.*\{\{qestion\}\}"):
        fill_instruction("{qestion}", question="q", metadata={})


def test_only_the_last_user_turn_is_reworded_and_the_recipes_system_message_wins() -> None:
    turns = [("system", "old"), ("user", "one"), ("assistant", "two"), ("user", "three")]
    messages = tuple(Message(role=role, content=content) for role, content in turns)
    example = Example(id="s/0", dataset="s", messages=messages, meta={"level": 3})
    worded = reword(example, instruction="<{question}|{level}>", system="new")
    assert [(message.role, message.content) for message in worded.messages] == [
        ("system", "new"),
        ("user", "one"),
        ("assistant", "two"),
        ("user", "<three|3>"),
    ]
    assert worded.meta == {"level": 3, "question": "three"}
    assert reword(example, instruction=None, system=None) is example


def test_an_instruction_needs_a_prompt() -> None:
    with pytest.raises(DataError, match=r"row s/0 has none: remove them from data.s"):
        reword(Example(id="s/0", dataset="s", text="t"), instruction="{question}", system=None)


def test_values_become_plain_data() -> None:
    import datetime

    import numpy as np

    value = {"a": (np.int64(1), np.float32(0.5)), 2: np.array([[1, 2]]), "d": datetime.date(2020, 1, 2), "n": None}
    result = plain(value)
    assert result == {"a": [1, 0.5], 2: [[1, 2]], "d": "2020-01-02", "n": None}
    assert [type(item) for item in result["a"]] == [int, float]
    with pytest.raises(DataError, match="found bytes"):
        plain({"image": b"x"})
