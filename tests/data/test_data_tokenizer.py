"""A tokenizer built in a run loses no text, keeps digits apart and comes out the same every time."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlpost.data.chat import ChatFormat
from rlpost.data.chat_template import chat_template_source
from rlpost.data.tokenizer import SPECIAL_TOKENS, load_tokenizer, tokenizer_texts, train_tokenizer
from rlpost.errors import DataError, ModelError
from rlpost.records import Example, Message, assistant_turn

TEXTS = [f"{left}+{right}={left + right};\\boxed{{{left + right}}}" for left in range(40) for right in range(40)]
TOKENIZER = train_tokenizer(TEXTS, vocab_size=280)


@given(st.text(max_size=60))
def test_any_text_goes_in_and_comes_back(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == text


def test_digits_are_tokens_of_their_own_and_frequent_text_is_merged() -> None:
    assert TOKENIZER.tokenize("12345") == ["1", "2", "3", "4", "5"]
    assert TOKENIZER.tokenize("\\boxed{12}") == ["\\", "boxed", "{", "1", "2", "}"]


def test_special_tokens_have_the_first_ids_and_decode_away() -> None:
    assert TOKENIZER.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
    assert (TOKENIZER.pad_token_id, TOKENIZER.eos_token_id) == (0, 1)
    assert TOKENIZER.decode([2, 3, 1], skip_special_tokens=True) == ""
    assert len(TOKENIZER) <= 280


def test_the_same_texts_give_the_same_tokenizer() -> None:
    again = train_tokenizer(iter(TEXTS), vocab_size=280)
    assert again.backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()


def test_a_long_text_teaches_the_same_as_its_words_one_by_one() -> None:
    # Unlike lengths and blanks put the borders of the pieces everywhere, also between a blank and its word.
    words = [
        "".join(random.Random(n).choices("abcde", k=n % 17 + 1)) + " " * (n % 3) + "\n" * (n % 2) for n in range(2_000)
    ]
    blanks_before = re.findall(r"\s*\S+", " ".join(words))
    whole = train_tokenizer([" ".join(words)], vocab_size=400)
    by_word = train_tokenizer(
        ["".join(blanks_before[n : n + 3]) for n in range(0, len(blanks_before), 3)], vocab_size=400
    )
    assert whole.get_vocab() == by_word.get_vocab()


@pytest.mark.timeout(60)  # The trainer's time grows with the square of a word's length: hours without pieces.
def test_a_word_of_a_megabyte_can_be_learnt_from() -> None:
    tokenizer = train_tokenizer(["x" * 1_000_000 + " 1 + 1"], vocab_size=300)
    assert tokenizer.tokenize("x" * 512) == ["x" * 512]


def test_a_saved_tokenizer_loads_with_its_template(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TEXTS, vocab_size=280)
    tokenizer.chat_template = chat_template_source("rlpost:plain")
    row = Example(
        id="s/0", dataset="s", messages=(Message(role="user", content="1+1"),), completion=assistant_turn("2")
    )
    [expected] = ChatFormat(tokenizer).render_conversations([row], train_on="all")
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path), trust_remote_code=False)
    [found] = ChatFormat(loaded).render_conversations([row], train_on="all")
    assert found.token_ids.tolist() == expected.token_ids.tolist()


def test_impossible_tokenizers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 261"):
        train_tokenizer(TEXTS, vocab_size=260)
    with pytest.raises(ModelError, match=r"must hold a tokenizer: set model\.path"):
        load_tokenizer(str(tmp_path), trust_remote_code=False)


def test_a_tokenizer_learns_from_every_text_of_a_row() -> None:
    question, call = Message(role="user", content="q"), {"function": {"name": "f", "arguments": {"é": 1}}}
    chat = Example(
        id="s/0",
        dataset="s",
        messages=(question,),
        completion=(Message(role="assistant", reasoning_content="r", content="a", tool_calls=(call,)),),
        rejected=assistant_turn("b"),
        tools=({"name": "f"},),
    )
    document = Example(id="s/1", dataset="s", text="t")
    called = '{"function": {"name": "f", "arguments": {"é": 1}}}'
    assert list(tokenizer_texts([chat, document])) == ["q", "r", "a", called, "b", '{"name": "f"}', "t"]
