"""SFT, DPO and RL see the same prompt tokens, and exactly the answer with its end is trained."""

import re
from pathlib import Path

import numpy as np
import pytest
import trl
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import byte_tokenizer
from transformers import PreTrainedTokenizerFast
from trl.chat_template_utils import get_training_chat_template

from rlpost.data.chat import ChatFormat, RenderedAnswer, chat_template_source, stop_token_ids
from rlpost.data.tokenizer import train_tokenizer
from rlpost.errors import ModelError
from rlpost.records import Message

TRL_TEMPLATES = Path(trl.__file__).parent / "chat_templates"
QUESTION = [
    Message(role="user", content="one"),
    Message(role="assistant", content="two"),
    Message(role="user", content="3?"),
]
BUILT_IN = ("rlpost:plain", "rlpost:tulu")
NO_MARKERS = "{% for m in messages %}{{ m.role }}:{{ m.content }}{{ eos_token }}\n{% endfor %}"


def formatted(template: str) -> ChatFormat:
    tokenizer = train_tokenizer(["one two three \n\n one two"] * 3, vocab_size=300)
    tokenizer.chat_template = template
    return ChatFormat(tokenizer)


def built_in(name: str) -> ChatFormat:
    return formatted(chat_template_source(name))


def trained_text(chat: ChatFormat, answer: RenderedAnswer) -> str:
    return chat.tokenizer.decode(answer.token_ids[answer.weights_T > 0])


def whole_text(chat: ChatFormat, answer: RenderedAnswer) -> str:
    return chat.tokenizer.decode(answer.token_ids)


def test_the_built_in_formats_are_as_documented() -> None:
    messages = [Message(role="system", content="s"), *QUESTION]
    plain, tulu = built_in("rlpost:plain"), built_in("rlpost:tulu")
    assert whole_text(plain, plain.render_response(messages, "4")) == (
        "<|system|>s<|user|>one<|assistant|>two<|eos|><|user|>3?<|assistant|>4<|eos|>"
    )
    assert whole_text(tulu, tulu.render_response(messages, "4")) == (
        "<|system|>\ns\n<|user|>\none\n<|assistant|>\ntwo<|eos|>\n<|user|>\n3?\n<|assistant|>\n4<|eos|>"
    )


def test_the_plain_format_spends_two_tokens_of_markup_on_a_prompt() -> None:
    chat = built_in("rlpost:plain")
    ids = chat.render_prompt([Message(role="user", content="12")])
    assert chat.tokenizer.convert_ids_to_tokens(ids.tolist()) == ["<|user|>", "1", "2", "<|assistant|>"]


@pytest.mark.parametrize("name", BUILT_IN)
@given(question=st.text(max_size=30), response=st.text(max_size=30))
def test_the_prompt_is_a_prefix_and_the_answer_with_its_end_is_trained(name: str, question: str, response: str) -> None:
    chat = CHATS[name]
    messages = [Message(role="user", content=question)]
    prompt = chat.render_prompt(messages)
    answer = chat.render_response(messages, response)
    assert answer.prompt_length == len(prompt)
    np.testing.assert_array_equal(answer.token_ids[: len(prompt)], prompt)
    np.testing.assert_array_equal(answer.weights_T, np.arange(len(answer.token_ids)) >= len(prompt))
    assert trained_text(chat, answer) == response + "<|eos|>"
    assert answer.token_ids[-1] in chat.stop_token_ids


CHATS = {name: built_in(name) for name in BUILT_IN}


def test_a_line_break_at_the_seam_does_not_merge_into_the_prompt() -> None:
    chat = built_in("rlpost:tulu")
    text = whole_text(chat, chat.render_response(QUESTION, "\n4"))
    joint = chat.tokenizer(text, add_special_tokens=False)["input_ids"]
    prompt = chat.render_prompt(QUESTION)
    assert joint[: len(prompt)] != prompt.tolist(), (
        "the tokenizer must merge two line breaks for this test to say a thing"
    )
    assert chat.render_response(QUESTION, "\n4").token_ids[: len(prompt)].tolist() == prompt.tolist()


def test_only_the_last_answer_is_trained_and_markers_narrow_it() -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>{{ m.content.split('|')[0] }}|"
        "{% generation %}{{ m.content.split('|')[-1] }}{{ eos_token }}{% endgeneration %}{{ '\\n' }}"
        "{% else %}<|user|>{{ m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    chat = formatted(template)
    answer = chat.render_response(QUESTION, "masked|trained")
    assert trained_text(chat, answer) == "trained<|eos|>"
    assert (
        whole_text(chat, answer)
        == "<|user|>one<|assistant|>two|two<|eos|>\n<|user|>3?<|assistant|>masked|trained<|eos|>"
    )


def test_without_markers_the_whole_answer_is_trained_and_the_line_break_behind_it_left_out() -> None:
    chat = formatted(NO_MARKERS + "{% if add_generation_prompt %}assistant:{% endif %}")
    answer = chat.render_response(QUESTION, "4")
    assert trained_text(chat, answer) == "4<|eos|>"
    assert whole_text(chat, answer).endswith("assistant:4<|eos|>")


def test_many_conversations_render_as_each_alone() -> None:
    chat = built_in("rlpost:plain")
    conversations = [QUESTION[:1], QUESTION]
    together = chat.render_responses(conversations, ["a", "b b"])
    for messages, response, answer in zip(conversations, ["a", "b b"], together, strict=True):
        alone = chat.render_response(messages, response)
        np.testing.assert_array_equal(answer.token_ids, alone.token_ids)
        np.testing.assert_array_equal(answer.weights_T, alone.weights_T)
    assert chat.render_responses([], []) == []


# TRL's training templates are the oracle for what a template without markers trains.


def with_trl_template(name: str) -> PreTrainedTokenizerFast:
    source = (TRL_TEMPLATES / f"{name}.jinja").read_text()
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": sorted(set(re.findall(r"<[^<>\s'{}]+>", source)))})
    tokenizer.bos_token = "<|pad|>"
    tokenizer.chat_template = source
    return tokenizer


@pytest.mark.parametrize(
    "name",
    [
        "cohere",
        "cohere2",
        "gemma",
        "gemma3",
        "gptoss",
        "lfm2",
        "llama3",
        "qwen2_5",
        "qwen3",
        "qwen3_instruct_2507",
        "qwen3_6",
    ],
)
def test_templates_of_model_families_train_what_trls_training_templates_train(name: str) -> None:
    tokenizer = with_trl_template(name)
    chat = ChatFormat(tokenizer)
    # One turn: TRL's Qwen3 template renders earlier answers otherwise than Qwen3's own, which generation uses.
    answer = chat.render_response([Message(role="user", content="3?")], "four")
    oracle = tokenizer.apply_chat_template(
        [{"role": "user", "content": "3?"}, {"role": "assistant", "content": "four"}],
        chat_template=get_training_chat_template(tokenizer),
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    length = len(answer.token_ids)
    assert oracle["input_ids"][:length] == answer.token_ids.tolist()
    assert tokenizer.decode(oracle["input_ids"][length:]).strip() == ""
    # Some of their masks begin inside the generation prompt, which is given at sampling time: it is not trained here.
    assert oracle["assistant_masks"][answer.prompt_length : length] == [1] * (length - answer.prompt_length)
    assert answer.weights_T.tolist() == [0] * answer.prompt_length + [1] * (length - answer.prompt_length)
    assert answer.token_ids[-1] in chat.stop_token_ids


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("deepseekv3", "begins with the rendered prompt"),
        ("nemotron_3_nano", "begins with"),
        ("glm4moe", "learn to stop"),
    ],
)
def test_families_whose_prompt_changes_or_whose_answer_has_no_end_are_refused(name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        ChatFormat(with_trl_template(name))


def test_the_end_of_turn_and_the_end_of_sequence_both_stop_sampling() -> None:
    tokenizer = with_trl_template("qwen3")
    assert stop_token_ids(tokenizer) == (1, tokenizer.convert_tokens_to_ids("<|im_end|>"))
    assert built_in("rlpost:plain").stop_token_ids == (1,)


# Refusals


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ messages[-1].content }}<|eos|>", "begins with the rendered prompt"),
        ("{% for m in messages %}<|user|>{{ m.content }}{% endfor %}", "learn to stop.*eos_token"),
        ("{{ raise_exception('roles must alternate') }}", "refuses one: roles must alternate"),
        ("{{ 1 // (messages | length - messages | length) }}", "refuses one: .* by zero"),
        (
            "{% for m in messages %}{% if loop.first %}{% generation %}{{ m.content }}{% endgeneration %}"
            "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}",
            "marks nothing behind the prompt",
        ),
    ],
)
def test_templates_that_cannot_be_trained_on_are_refused(template: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        formatted(template)


def test_a_tokenizer_needs_a_template() -> None:
    with pytest.raises(ModelError, match=r"found none: set model\.chat_template"):
        ChatFormat(train_tokenizer(["a"], vocab_size=300))


def test_template_references_are_files_or_built_in(tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text("{{ messages }}")
    assert chat_template_source(str(path)) == "{{ messages }}"
    with pytest.raises(ModelError, match=r"one of rlpost:plain, rlpost:tulu; found 'rlpost:qwen'"):
        chat_template_source("rlpost:qwen")
    with pytest.raises(ModelError, match=r"readable Jinja file.*none\.jinja"):
        chat_template_source(str(tmp_path / "none.jinja"))
