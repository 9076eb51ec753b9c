"""Rows hold the tokens, weights and lengths that their stage asks for."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from opened import tokenized
from tiny_models import EOS_ID, byte_tokenizer

from rlpost.data.chat import ChatFormat
from rlpost.data.rows import trajectory_row
from rlpost.data.tokenized import SupervisedRows, demonstration_rows, document_rows, prompt_rows
from rlpost.errors import DataError
from rlpost.records import Completion, Example, Message, Prompt, VersionSpan, assistant_turn
from rlpost.rollout.episodes import single_turn
from rlpost.train_records import TrainRow

CHAT = ChatFormat(byte_tokenizer())
"""Renders `user: q\\nassistant: a<eos>`, one token a character."""


def example(question: str, response: str | None = None, number: int = 0) -> Example:
    completion = () if response is None else assistant_turn(response)
    messages = (Message(role="user", content=question),)
    return Example(id=f"s/{number}", dataset="s", messages=messages, completion=completion, gold=7)


def demonstrations(examples: list[Example], *, max_length: int) -> SupervisedRows:
    return demonstration_rows(tokenized(examples, chat=CHAT, shape="conversation"), max_length=max_length)


def documents(examples: list[Example], *, max_length: int) -> SupervisedRows:
    return document_rows(tokenized(examples, chat=CHAT, shape="document"), max_length=max_length)


def prompts(examples: list[Example], *, max_length: int, max_tokens: int) -> Sequence[Prompt]:
    sets = tokenized(examples, chat=CHAT, shape="prompt")
    return prompt_rows(sets, max_length=max_length, max_tokens=max_tokens).prompts


def text_of(row: TrainRow, *, trained: bool = False) -> str:
    return CHAT.tokenizer.decode(row.token_ids[row.weights_T > 0] if trained else row.token_ids)


def test_demonstrations_train_the_response_and_its_end() -> None:
    rows, _, dropped = demonstrations([example("ab", "cd")], max_length=64)
    assert dropped == 0
    assert text_of(rows[0]) == "user: ab\nassistant: cd<|eos|>"
    assert text_of(rows[0], trained=True) == "cd<|eos|>"


def test_long_demonstrations_are_dropped_and_counted_and_the_limit_is_exact() -> None:
    length = len("user: ab\nassistant: cd") + 1
    examples = [example("ab", "cd"), example("ab", "cde")]
    rows, _, dropped = demonstrations(examples, max_length=length)
    assert ([text_of(row, trained=True) for row in rows], dropped) == (["cd<|eos|>"], 1)
    with pytest.raises(DataError, match=r"no row fits in max_length = 22: all 2 are longer"):
        demonstrations(examples, max_length=length - 1)


def test_a_prompt_that_fills_the_context_is_refused_by_name() -> None:
    examples = [example("ab", "c"), example("a" * 50, "c", number=9)]
    with pytest.raises(DataError, match=r"max_length = 40; the prompt of row s/9 has 68 tokens: raise max"):
        demonstrations(examples, max_length=40)
    with pytest.raises(DataError, match=r"a prompt and 8 more tokens must fit in max_length = 27;.* 20 tokens"):
        prompts([example("ab")], max_length=27, max_tokens=8)


def test_prompts_carry_what_the_generator_and_the_scorer_need() -> None:
    [prompt] = prompts([example("ab", "cd")], max_length=28, max_tokens=8)
    assert CHAT.tokenizer.decode(prompt.token_ids) == "user: ab\nassistant: "
    assert prompt.token_ids.dtype == np.int32
    assert (prompt.id, prompt.dataset, prompt.gold) == ("s/0", "s", 7)


def test_documents_are_cut_into_rows_and_all_but_the_first_token_is_trained() -> None:
    text = "abcdefghij"
    rows, _, dropped = documents([Example(id="s/0", dataset="s", text=text)], max_length=4)
    assert dropped == 0
    assert [text_of(row) for row in rows] == ["abcd", "efgh", "ij<|eos|>"]
    assert [text_of(row, trained=True) for row in rows] == ["bcd", "fgh", "j<|eos|>"]


def test_a_last_piece_of_one_token_has_nothing_to_train() -> None:
    rows, _, _ = documents([Example(id="s/0", dataset="s", text="abcd")], max_length=4)
    assert [text_of(row) for row in rows] == ["abcd"]
    assert rows[0].token_ids[-1] != EOS_ID


def test_prompt_and_response_are_one_text_in_continued_pre_training() -> None:
    examples = [example("ab", "cd"), example("ab", "c" * 90)]
    rows, _, dropped = documents(examples, max_length=64)
    assert dropped == 1
    assert text_of(rows[0]) == "user: ab\nassistant: cd<|eos|>"
    assert text_of(rows[0], trained=True) == "ser: ab\nassistant: cd<|eos|>"


def test_marks_of_turns_change_nothing_in_continued_pre_training() -> None:
    turn = Message(role="assistant", content="cd", train=False)
    rows, _, _ = documents([replace(example("ab"), completion=(turn,))], max_length=64)
    assert text_of(rows[0], trained=True) == "ser: ab\nassistant: cd<|eos|>"


def test_a_response_row_keeps_the_sampled_tokens_and_log_probabilities() -> None:
    ids = np.array([5, 6, 7], np.int32)
    prompt = Prompt(id="s/0", dataset="s", messages=(), token_ids=ids, gold=None, meta={})
    completion = Completion(
        key=("s/0", 0),
        token_ids=np.array([9, 9], np.int32),
        logprobs_T=np.array([-0.5, -0.25], np.float32),
        version_spans=(VersionSpan(start=0, stop=2, version=0),),
        finish="length",
        text="zz",
        seconds=0.0,
    )
    (trajectory,) = single_turn(prompt, completion).trajectories
    columns = {"advantages_T": np.array([-2, -3], np.float32), "behaviour_logprobs_T": completion.logprobs_T}
    row = trajectory_row(trajectory, weight=0.5, columns=columns, source="s/0, sample 0")
    assert row.token_ids.tolist() == [5, 6, 7, 9, 9]
    assert row.weights_T.tolist() == [0, 0, 0, 0.5, 0.5]
    assert row.columns["advantages_T"].tolist() == [0, 0, 0, -2, -3]
    assert row.columns["behaviour_logprobs_T"].tolist() == [0, 0, 0, -0.5, -0.25]
    assert {row.weights_T.dtype, *(values_T.dtype for values_T in row.columns.values())} == {np.dtype(np.float32)}
