"""SFT, DPO and RL see the same prompt tokens, and exactly the answers with their ends are trained."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversations import (
    assistant,
    built_in,
    rendered,
    row,
    trained_text,
    user,
    whole_text,
    with_template,
    with_trl_template,
)
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import EOS_ID, byte_tokenizer, save_tiny_model
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, PreTrainedTokenizer

from rlpost.data import chat_template
from rlpost.data.chat import ChatFormat, model_stop_ids
from rlpost.data.chat_template import chat_template_source
from rlpost.data.tokenizer import train_tokenizer
from rlpost.errors import DataError, ModelError
from rlpost.records import Message, assistant_turn

QUESTION = (user("one"), assistant("two"), user("3?"))
BUILT_IN = ("rlpost:plain", "rlpost:tulu")
"""The built-in templates for tokenizers of a recipe."""
NO_MARKERS = "{% for m in messages %}{{ m.role }}:{{ m.content }}{{ eos_token }}\n{% endfor %}"


def test_the_built_in_formats_are_as_documented() -> None:
    example = row([Message(role="system", content="s"), *QUESTION], assistant_turn("4"))
    plain, tulu = built_in("rlpost:plain"), built_in("rlpost:tulu")
    assert whole_text(plain, rendered(plain, example)) == (
        "<|system|>s<|user|>one<|assistant|>two<|eos|><|user|>3?<|assistant|>4<|eos|>"
    )
    assert whole_text(tulu, rendered(tulu, example)) == (
        "<|system|>\ns\n<|user|>\none\n<|assistant|>\ntwo<|eos|>\n<|user|>\n3?\n<|assistant|>\n4<|eos|>"
    )


def test_the_format_of_olmo_2_is_that_of_tulu_behind_the_tokenizers_first_token() -> None:
    example = row([user("q")], assistant_turn("a"))
    texts: list[str] = []
    for name in ("rlpost:tulu", "rlpost:tulu_bos"):
        chat = ChatFormat(beginning_with_bos(name))
        texts.append(whole_text(chat, rendered(chat, example)))
        [prompt] = chat.render_prompts([example])
        assert (chat.tokenizer.decode(prompt[:1]) == "<bos>") is (name == "rlpost:tulu_bos")
        assert chat.unwritten_beginning == ("<bos>" if name == "rlpost:tulu" else None)
    assert texts == ["<|user|>\nq\n<|assistant|>\na<|eos|>", "<bos><|user|>\nq\n<|assistant|>\na<|eos|>"]


def test_a_tokenizer_that_begins_no_text_has_no_beginning_to_write() -> None:
    assert built_in("rlpost:tulu").unwritten_beginning is None
    named: Any = byte_tokenizer()
    named.add_special_tokens({"bos_token": "<bos>"})
    assert ChatFormat(named).unwritten_beginning is None


def beginning_with_bos(template: str) -> Any:
    tokenizer: Any = byte_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<bos>"})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)]
    )
    tokenizer.chat_template = chat_template_source(template)
    return tokenizer


def test_prompts_are_the_same_on_every_day() -> None:
    dated = "{{ strftime_now('%d %b %Y') }}|" + NO_MARKERS
    chat = with_template(dated)
    [ids] = chat.render_prompts([row([user("q")])])
    assert str(chat.tokenizer.decode(ids)).startswith("26 Jul 2024|")


def test_a_template_that_loops_is_refused_after_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "LONGEST_RENDERING_S", 0.1)
    many = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(ModelError, match="must render a conversation within 0 s; it did not"):
        with_template(many + NO_MARKERS)


def test_the_plain_format_spends_two_tokens_of_markup_on_a_prompt() -> None:
    chat = built_in("rlpost:plain")
    [ids] = chat.render_prompts([row([user("12")])])
    assert chat.tokenizer.convert_ids_to_tokens(ids.tolist()) == ["<|user|>", "1", "2", "<|assistant|>"]


@pytest.mark.parametrize("name", BUILT_IN)
@given(question=st.text(max_size=30), response=st.text(max_size=30))
def test_the_prompt_is_a_prefix_and_the_answer_with_its_end_is_trained(name: str, question: str, response: str) -> None:
    chat, example = CHATS[name], row([user(question)], assistant_turn(response))
    [prompt] = chat.render_prompts([example])
    answer = rendered(chat, example)
    assert answer.prompt_length == len(prompt)
    np.testing.assert_array_equal(answer.token_ids[: len(prompt)], prompt)
    np.testing.assert_array_equal(answer.weights_T, np.arange(len(answer.token_ids)) >= len(prompt))
    assert trained_text(chat, answer) == response + "<|eos|>"
    assert answer.token_ids[-1] in chat.stop_token_ids


CHATS = {name: built_in(name) for name in BUILT_IN}


def test_a_line_break_at_the_seam_does_not_merge_into_the_prompt() -> None:
    chat, example = built_in("rlpost:tulu"), row(QUESTION, assistant_turn("\n4"))
    [prompt] = chat.render_prompts([example])
    joint = chat.tokenizer(whole_text(chat, rendered(chat, example)), add_special_tokens=False)["input_ids"]
    assert joint[: len(prompt)] != prompt.tolist(), (
        "the tokenizer must merge two line breaks for this test to say a thing"
    )
    assert rendered(chat, example).token_ids[: len(prompt)].tolist() == prompt.tolist()


def test_many_conversations_render_as_each_alone() -> None:
    chat = built_in("rlpost:plain")
    examples = [row(QUESTION[:1], assistant_turn("a")), row(QUESTION, assistant_turn("b b"))]
    for example, together in zip(examples, chat.render_conversations(examples, train_on="all"), strict=True):
        alone = rendered(chat, example)
        np.testing.assert_array_equal(together.token_ids, alone.token_ids)
        np.testing.assert_array_equal(together.weights_T, alone.weights_T)
    assert chat.render_conversations([], train_on="all") == []


# Which turns are trained


@pytest.mark.parametrize("name", [*BUILT_IN, "no markers"])
def test_of_three_turns_three_answers_are_trained_with_their_ends(name: str) -> None:
    chat = with_template(UNMARKED) if name == "no markers" else built_in(name)
    example = row(
        [user("a?"), assistant("first"), user("b?"), assistant("second"), user("c?")], assistant_turn("third")
    )
    assert trained_text(chat, rendered(chat, example)) == "first<|eos|>second<|eos|>third<|eos|>"
    assert trained_text(chat, rendered(chat, example, train_on="last")) == "third<|eos|>"
    assert trained_text(chat, rendered(chat, example, train_on="completion")) == "third<|eos|>"
    all_turns, last = rendered(chat, example), rendered(chat, example, train_on="last")
    assert all_turns.token_ids.tolist() == last.token_ids.tolist()


UNMARKED = NO_MARKERS + "{% if add_generation_prompt %}assistant:{% endif %}"


@pytest.mark.parametrize("name", [*BUILT_IN, "no markers"])
@pytest.mark.parametrize(
    ("flags", "train_on", "trained"),
    [
        ((None, False, None), "all", "first<|eos|>third<|eos|>"),
        ((None, None, False), "all", "first<|eos|>second<|eos|>"),
        ((True, None, None), "last", "first<|eos|>third<|eos|>"),
        ((True, None, None), "completion", "third<|eos|>"),
        ((True, True, False), "last", "first<|eos|>second<|eos|>"),
    ],
)
def test_a_turn_says_itself_whether_it_is_trained(
    name: str, flags: tuple[bool | None, ...], train_on: Any, trained: str
) -> None:
    chat = with_template(UNMARKED) if name == "no markers" else built_in(name)
    first, second, third = (
        assistant(text, train=flag) for text, flag in zip(("first", "second", "third"), flags, strict=True)
    )
    example = row([user("a?"), first, user("b?"), second, user("c?")], [third])
    assert trained_text(chat, rendered(chat, example, train_on=train_on)) == trained


def test_a_row_of_which_nothing_is_trained_is_refused_by_name() -> None:
    example = row([user("q")], [assistant("a", train=False)])
    with pytest.raises(DataError, match=r"row s/7 must have a turn of the assistant that is trained"):
        rendered(built_in("rlpost:plain"), example)


def test_markers_narrow_an_answer_and_every_block_counts() -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>{{ m.content.split('|')[0] }}|"
        "{% generation %}{{ m.content.split('|')[-1] }}{% endgeneration %}/{% generation %}{{ eos_token }}"
        "{% endgeneration %}{{ '\\n' }}{% else %}<|user|>{{ m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    chat = with_template(template)
    example = row(QUESTION, assistant_turn("masked|trained"))
    assert trained_text(chat, rendered(chat, example)) == "two<|eos|>trained<|eos|>"
    assert trained_text(chat, rendered(chat, example, train_on="last")) == "trained<|eos|>"
    assert whole_text(chat, rendered(chat, example)) == (
        "<|user|>one<|assistant|>two|two/<|eos|>\n<|user|>3?<|assistant|>masked|trained/<|eos|>"
    )


def test_without_markers_text_behind_the_last_end_is_left_out() -> None:
    chat = ChatFormat(with_trl_template("phi3"))
    answer = rendered(chat, row([user("q")], assistant_turn("4")))
    assert whole_text(chat, answer) == "<|user|>\nq<|end|>\n<|assistant|>\n4<|end|>"
    assert trained_text(chat, answer) == "4<|end|>"


def test_a_template_that_shows_earlier_answers_otherwise_is_refused_for_all_turns_and_serves_for_the_last() -> None:
    chat = ChatFormat(with_trl_template("qwen3"))
    example = row(QUESTION, assistant_turn("4"))
    with pytest.raises(ModelError, match=r"row s/7: .* message 1 \(assistant\) has another form .* set train_on: last"):
        rendered(chat, example)
    assert trained_text(chat, rendered(chat, example, train_on="last")) == "<think>\n\n</think>\n\n4<|im_end|>"


# Templates that open a block of reasoning


@pytest.mark.parametrize("name", ["deepseek_r1_distill", "nemotron_3_nano", "qwen3_5_think"])
def test_the_opened_block_of_reasoning_is_a_part_of_the_prompt(name: str) -> None:
    chat = ChatFormat(with_trl_template(name))
    [prompt] = chat.render_prompts([row([user("q")])])
    assert chat.tokenizer.decode(prompt).endswith("<think>\n")


def test_answers_with_reasoning_are_trained_behind_the_block_that_the_prompt_opens() -> None:
    chat = ChatFormat(with_trl_template("nemotron_3_nano"))
    answer = rendered(chat, row([user("q")], [assistant("4", reasoning_content="why")]))
    assert trained_text(chat, answer) == "why\n</think>\n4<|im_end|>"
    closed = row([user("q")], assistant_turn("4"), template_arguments={"enable_thinking": False})
    assert trained_text(chat, rendered(chat, closed)) == "4<|im_end|>"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nemotron_3_nano", r"give the answers reasoning_content, or set template_arguments: {enable_thinking: false}"),
        ("deepseek_r1_distill", r"begin each answer with its reasoning in that block, .* or set model.chat_template"),
    ],
)
def test_answers_without_the_reasoning_that_the_prompt_opens_are_refused(name: str, words: str) -> None:
    with pytest.raises(ModelError, match=f"row s/7: .* begins with the rendered prompt; .*{words}"):
        rendered(ChatFormat(with_trl_template(name)), row([user("q")], assistant_turn("4")))


def test_reasoning_behind_a_prompt_that_closes_its_block_is_refused_with_the_switch_that_opens_it() -> None:
    chat = ChatFormat(with_trl_template("qwen3_5_nothink"))
    answer = [assistant("4", reasoning_content="why")]
    words = "closes the block of reasoning that the answer fills: .* set template_arguments: {enable_thinking: true}"
    with pytest.raises(ModelError, match=words):
        rendered(chat, row([user("q")], answer))
    opened = rendered(chat, row([user("q")], answer, template_arguments={"enable_thinking": True}))
    assert trained_text(chat, opened) == "why\n</think>\n\n4<|im_end|>"


# Where answers end


@pytest.mark.parametrize(
    ("name", "end"), [("qwen3", "<|im_end|>"), ("phi3", "<|end|>"), ("cohere2", "<|END_OF_TURN_TOKEN|>")]
)
def test_end_of_turn_end_of_sequence_and_the_models_own_ends_stop_sampling(name: str, end: str) -> None:
    tokenizer = with_trl_template(name)
    expected = {EOS_ID, tokenizer.convert_tokens_to_ids(end)}
    assert ChatFormat(tokenizer).stop_token_ids == tuple(sorted(expected))
    assert ChatFormat(tokenizer, model_stops=(7, 9)).stop_token_ids == tuple(sorted({*expected, 7, 9}))


def test_a_template_that_writes_no_end_is_for_rl_alone_and_only_where_the_model_names_its_ends() -> None:
    tokenizer = with_trl_template("glm4moe")
    with pytest.raises(ModelError, match="must end an answer with a special token"):
        ChatFormat(tokenizer)
    chat = ChatFormat(tokenizer, model_stops=(tokenizer.convert_tokens_to_ids("<|user|>"),))
    [prompt] = chat.render_prompts([row([user("q")])])
    assert tokenizer.decode(prompt).endswith("<|user|>\nq<|assistant|>")
    with pytest.raises(ModelError, match="row s/7: the chat template must end an answer with a special token"):
        rendered(chat, row([user("q")], assistant_turn("4")))


@pytest.mark.parametrize(
    ("text", "found"),
    [('{"eos_token_id": [1, 7]}', (1, 7)), ('{"eos_token_id": 5}', (5,)), ('{"eos_token_id": null}', ()), ("{}", ())],
)
def test_the_ends_of_a_model_are_read_from_its_generation_config(
    tmp_path: Path, text: str, found: tuple[int, ...]
) -> None:
    assert model_stop_ids(tmp_path) == ()
    (tmp_path / "generation_config.json").write_text(text)
    assert model_stop_ids(tmp_path) == found


@pytest.mark.parametrize("text", ["[1]", "{", '{"eos_token_id": "end"}', '{"eos_token_id": [-1]}'])
def test_a_generation_config_that_names_no_tokens_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(ModelError, match=r"generation_config\.json"):
        model_stop_ids(tmp_path)


def test_a_saved_model_stops_in_transformers_where_sampling_stops(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, tied=True, seed=0)
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = byte_tokenizer()("question", return_tensors="pt")
    free = model.generate(**ids, do_sample=False, max_new_tokens=12)[0, ids["input_ids"].shape[1] :].tolist()
    stop = free[4]
    ChatFormat(byte_tokenizer(), model_stops=(stop,)).save(tmp_path)
    assert json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"] == [EOS_ID, stop]
    saved: Any = AutoModelForCausalLM.from_pretrained(tmp_path)
    stopped = saved.generate(**ids, do_sample=False, max_new_tokens=12)[0, ids["input_ids"].shape[1] :].tolist()
    assert stopped == free[: free.index(stop) + 1]
    assert len(stopped) < len(free)


def test_a_model_without_a_generation_config_gets_none(tmp_path: Path) -> None:
    ChatFormat(byte_tokenizer()).save(tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()
    assert not (tmp_path / "generation_config.json").exists()


# Refusals


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ messages | length }}" + NO_MARKERS, "begins with the rendered prompt"),
        ("{{ messages[0].content }}<|eos|>", "must write the content of an assistant's turn"),
        ("{% for m in messages %}<|user|>{{ m.content }}{% endfor %}", "learn to stop.*eos_token"),
        ("{{ raise_exception('roles must alternate') }}", "refuses one: roles must alternate"),
        ("{{ 1 // (messages | length - messages | length) }}", "refuses one: .* by zero"),
        ("{{ eos_token }}", "must write the content of a user turn"),
        (
            "{% for m in messages %}{% if loop.first %}{% generation %}{{ m.content }}{% endgeneration %}"
            "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}",
            "marks nothing in message 1 behind its prompt",
        ),
    ],
)
def test_templates_that_cannot_be_trained_on_are_refused(template: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        rendered(with_template(template), row([user("question")], assistant_turn("answer")))


def test_a_tokenizer_needs_a_template() -> None:
    with pytest.raises(ModelError, match=r"found none: set model\.chat_template"):
        ChatFormat(train_tokenizer(["a"], vocab_size=300))


class SlowTokenizer(PreTrainedTokenizer):
    """A token a character, in Python: it does not say where a token stands in the text."""

    vocab_size = 300

    def get_vocab(self) -> dict[str, int]:
        return {chr(code): code for code in range(self.vocab_size)}

    def _tokenize(self, text: str) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return ord(token)

    def _convert_id_to_token(self, index: int) -> str:
        return chr(index)


def test_a_slow_tokenizer_renders_prompts_and_is_refused_for_answers() -> None:
    slow = SlowTokenizer(unk_token="u", eos_token="e")
    slow.chat_template = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    chat = ChatFormat(slow)
    assert [ids.tolist() for ids in chat.render_prompts([row([user("ab")])])] == [[97, 98, ord("e")]]
    with pytest.raises(ModelError, match=r"SlowTokenizer does not: give the model a tokenizer\.json"):
        rendered(chat, row([user("ab")], assistant_turn("c")))


def test_template_references_are_files_or_built_in(tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text("{{ messages }}")
    assert chat_template_source(str(path)) == "{{ messages }}"
    with pytest.raises(ModelError, match=r"one of rlpost:plain, rlpost:tulu, rlpost:tulu_bos; found 'rlpost:qwen'"):
        chat_template_source("rlpost:qwen")
    with pytest.raises(ModelError, match=r"readable Jinja file.*none\.jinja"):
        chat_template_source(str(tmp_path / "none.jinja"))
