"""Rows as people write them: each is rendered whole, or refused with a sentence that names the row and the part."""

import json
from pathlib import Path
from typing import Any

import pytest
from conversations import CALL, WEATHER, assistant, built_in, rendered, row, tool, trained_text, user, with_trl_template
from opened import load_examples, tokenized
from test_sources import one

from rlpost.data.chat import ChatFormat
from rlpost.data.sources import require_columns
from rlpost.data.tokenized import pair_rows, prompt_rows
from rlpost.errors import DataError, ModelError, RlpostError
from rlpost.recipe.sections import DataConfig
from rlpost.records import Example, Message

ROWS = Path(__file__).parent / "rows"
CHATML = ChatFormat(with_trl_template("qwen3_training"))
ENDED = "<|im_end|>"


def load(name: str, **settings: Any) -> list[Example]:
    examples = load_examples("set", DataConfig(source=f"jsonl:{ROWS / name}", **settings))
    return sorted(examples, key=lambda example: example.id)


def trained(name: str, chat: ChatFormat = CHATML, **settings: Any) -> str:
    """The trained text of a file of one row, without what Qwen3's training template adds to every answer."""
    [example] = load(name, **settings)
    text = trained_text(chat, rendered(chat, example))
    return text.replace("<think>\n\n</think>\n\n", "").replace(f"{ENDED}\n", ENDED)


CALLED = '<tool_call>\n{"name": "clock", "arguments": {"zone": "UTC"}}\n</tool_call>' + ENDED


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("byte_order_mark.jsonl", "The sky." + ENDED),
        ("parts.jsonl", "Grass." + ENDED),
        ("reasoning.jsonl", f"<think>\n3 and 4 make 7\n</think>\n\n7{ENDED}"),
        ("call_as_answer.jsonl", CALLED),
        ("call_with_empty_content.jsonl", f"{CALLED}It is noon.{ENDED}"),
        ("call_without_content.jsonl", f"{CALLED}It is noon.{ENDED}"),
        ("weight.jsonl", "Hi." + ENDED),
        ("empty_response.jsonl", ENDED),
    ],
)
def test_rows_are_trained_whole(name: str, expected: str) -> None:
    assert trained(name) == expected


def test_tools_and_the_answers_of_tools_are_in_the_prompt_and_are_not_trained() -> None:
    [example] = load("call_without_content.jsonl")
    conversation = rendered(CHATML, example)
    given = CHATML.tokenizer.decode(conversation.token_ids[conversation.weights_T == 0])
    assert '"description": "Says the time."' in given
    assert "<tool_response>\nnoon\n</tool_response>" in given


def test_tools_reach_the_prompts_of_rl() -> None:
    sets = tokenized(load("tools_for_rl.jsonl"), chat=CHATML, shape="prompt")
    [prompt] = prompt_rows(sets, max_length=2000, max_tokens=1).prompts
    assert '"description": "Says the time."' in CHATML.tokenizer.decode(prompt.token_ids)
    assert (prompt.gold, prompt.question) == ("noon", "What time is it?")


def test_a_template_argument_of_a_row_goes_before_the_one_of_the_recipe() -> None:
    closed = "<think>\n\n</think>\n\n"
    for settings, expected in (
        ({}, closed),
        ({"template_arguments": {"enable_thinking": True}}, closed),
        ({"not_rendered": ["chat_template_kwargs"], "template_arguments": {"enable_thinking": True}}, ""),
        ({"not_rendered": ["chat_template_kwargs"]}, ""),
    ):
        [prompt] = CHATML.render_prompts(load("template_arguments.jsonl", **settings))
        assert CHATML.tokenizer.decode(prompt).partition("<|im_start|>assistant\n")[2] == expected


def test_sides_of_a_pair_may_differ_in_whole_conversations_and_equal_sides_are_left_out() -> None:
    sets = tokenized(load("pair_of_conversations.jsonl"), chat=CHATML, shape="pair")
    [pair], _, dropped = pair_rows(sets, max_length=900)
    texts = [CHATML.tokenizer.decode(side.token_ids[side.weights_T > 0]) for side in pair]
    said = [text.replace("<think>\n\n</think>\n\n", "").replace(ENDED, "").split("\n") for text in texts]
    assert (said, dropped) == ([["Hi.", "Ask me."], ["No.", "Just so."]], 0)
    sets = tokenized(load("equal_pair.jsonl"), chat=CHATML, shape="pair")
    pairs, _, dropped = pair_rows(sets, max_length=900)
    assert (len(pairs), dropped) == (1, 1)


def test_answers_inside_a_prompt_are_given_and_answers_inside_messages_are_demonstrated(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "a?"},
        {"role": "assistant", "content": "A."},
        {"role": "user", "content": "b?"},
    ]
    answer = {"role": "assistant", "content": "B."}
    chat = built_in("rlpost:plain")
    asked = one(tmp_path, {"prompt": turns, "completion": [answer]})
    assert trained_text(chat, rendered(chat, asked)) == "B.<|eos|>"
    told = one(tmp_path, {"messages": [*turns, answer]})
    assert trained_text(chat, rendered(chat, told)) == "A.<|eos|>B.<|eos|>"
    marked = one(tmp_path, {"prompt": [turns[0], turns[1] | {"train": True}, turns[2]], "completion": [answer]})
    assert trained_text(chat, rendered(chat, marked)) == "A.<|eos|>B.<|eos|>"


def test_the_rows_that_arrow_fills_with_nulls_read_as_they_were_written(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    calls = [
        {"function": {"name": name, "arguments": {key: "x"}}} for name, key in (("clock", "zone"), ("map", "city"))
    ]
    rows = [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": [call]}]}
        for call in calls
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    examples = load_examples("set", DataConfig(source=f"parquet:{tmp_path / 'rows.parquet'}"))
    found = {example.completion[0].tool_calls[0]["function"]["name"]: example.completion[0] for example in examples}
    assert found["clock"].tool_calls[0]["function"]["arguments"] == {"zone": "x"}
    assert found["map"].tool_calls[0]["function"]["arguments"] == {"city": "x"}
    assert all(example.messages == (user("q"),) for example in examples)


def test_every_row_of_the_page_about_conversations_is_read_and_rendered(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "conversations.md").read_text(encoding="utf-8")
    rows = [json.loads(line) for block in page.split("```jsonl\n")[1:] for line in block.split("```")[0].splitlines()]
    examples = [one(tmp_path, fields) for fields in rows]
    shapes = [(len(row.messages), len(row.completion), len(row.rejected), row.text is not None) for row in examples]
    assert shapes == [
        (1, 1, 0, False),
        (3, 1, 0, False),
        (1, 3, 0, False),
        (1, 1, 1, False),
        (1, 0, 0, False),
        (0, 0, 0, True),
    ]
    told = [trained_text(CHATML, rendered(CHATML, row)).replace("<think>\n\n</think>\n\n", "") for row in examples[:4]]
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    assert told == [
        f"7{ENDED}",
        f"<think>\n3 and 4 make 7\n</think>\n\n7{ENDED}",
        f"{call}{ENDED}\nYes.{ENDED}",
        f"7{ENDED}",
    ]
    [prompt] = CHATML.render_prompts(examples[4:5])
    assert CHATML.tokenizer.decode(prompt).endswith("</think>\n\n")


# Refused while rows are read


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("array.json", r"array\.json:1: a line must be one JSON object"),
        ("comma.jsonl", r"comma\.jsonl:1: a line must be one JSON object; found: Extra data"),
        ("images.jsonl", "the column images is one that a model would see, .* list images in not_rendered"),
        ("image_part.jsonl", "message 0 has a part of type image, and only text is rendered"),
        ("prefill.jsonl", "a prompt must end with a user turn; found an assistant turn"),
        ("utf_16.jsonl", r"utf_16\.jsonl must be UTF-8; found the byte order mark of UTF-16"),
        ("unknown_key.jsonl", r"row 0 .*message 1 \(assistant\) has the key emotion, .* or list it in not_rendered"),
        ("legacy_call.jsonl", r"message 1 \(assistant\) has the key function_call"),
    ],
)
def test_rows_of_which_a_part_would_vanish_are_refused_by_name(name: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(name)


def test_sharegpt_is_refused_with_the_names_to_write() -> None:
    with pytest.raises(DataError, match="message 0 has ShareGPT's from and value: rename them to role and content"):
        load("sharegpt.jsonl", columns={"messages": "conversations"})


def test_a_recipe_may_say_that_a_column_or_key_is_not_for_the_model() -> None:
    [example] = load("images.jsonl", not_rendered=["images"])
    assert example.meta == {"images": ["cat.png"]}
    assert trained("unknown_key.jsonl", not_rendered=["emotion"]) == "Hi." + ENDED


def test_the_input_of_alpacas_rows_is_refused_or_written_by_the_instruction() -> None:
    names = {"prompt": "instruction", "response": "output"}
    with pytest.raises(DataError, match="the column input is one that a model would see"):
        load("alpaca.jsonl", columns=names)
    [example] = load("alpaca.jsonl", columns=names, instruction="{question}\n{input}")
    assert example.question == "Name the opposite.\nhot"


def test_keys_of_tool_calls_may_be_said_to_be_not_for_the_model(tmp_path: Path) -> None:
    call = {"id": "c", "index": 0, "note": "n", "function": {"name": "f", "arguments": {}, "strict": None}}
    turns = [TURN, {"role": "assistant", "content": None, "tool_calls": [call]}]
    example = one(tmp_path, {"messages": turns}, not_rendered=["note"])
    assert example.completion[0].tool_calls[0]["function"]["name"] == "f"


def test_a_column_that_the_instruction_writes_does_not_vanish(tmp_path: Path) -> None:
    example = one(tmp_path, {"prompt": "q", "documents": "d"}, instruction="{documents}\n{question}")
    assert example.question == "d\nq"
    assert one(tmp_path, {"prompt": "q", "system_prompt": "old"}, system="new").messages[0].content == "new"


def test_verls_rows_are_prompts_with_a_gold() -> None:
    examples = load("verl.jsonl")
    require_columns(examples, stage="grpo", use="prompts_with_gold")
    assert examples[0].gold == examples[0].meta["reward_model"]["ground_truth"]


@pytest.mark.parametrize("name", ["alpaca.jsonl", "question_answer.jsonl", "messages_as_text.jsonl", "sharegpt.jsonl"])
def test_rows_of_well_known_shapes_are_demonstrations(name: str) -> None:
    examples = load(name)
    require_columns(examples, stage="sft", use="sft")
    assert examples[0].messages[-1].role == "user"


def test_a_pair_of_texts_is_a_pair() -> None:
    examples = load("one_text_pair.jsonl")
    require_columns(examples, stage="dpo", use="pairs")
    assert examples[0].completion[0].text == "Hi."


TURN = {"role": "user", "content": "q"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": [TURN, {"role": "assistant"}]}, "a message must have a role and a content, both strings"),
        ({"messages": [TURN | {"tool_calls": [{"name": "f"}]}]}, "which only an assistant's turn can have"),
        ({"messages": [TURN | {"train": True}]}, r"message 0 \(user\) says that it is to be trained"),
        ({"messages": [TURN | {"weight": 0.5}]}, "weight of message 0 must be 0 or 1; found 0.5"),
        ({"messages": [TURN | {"train": "no"}]}, "train of message 0 must be true or false; found 'no'"),
        ({"messages": [TURN | {"weight": 1, "train": False}]}, "which say the opposite"),
        ({"messages": [TURN | {"name": 5}]}, "name of message 0 must be text; found a int"),
        (
            {"messages": [TURN, {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": 1}}]}]},
            "a tool call must have a function with a name and arguments",
        ),
        (
            {"messages": [TURN, {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": "{"}]}]},
            "arguments .a mapping, or JSON text of one.; message 1 has",
        ),
        (
            {"messages": [TURN, {"role": "assistant", "content": "a", "reasoning": "r", "thinking": "t"}]},
            "has reasoning and thinking, which mean the same",
        ),
        (
            {
                "messages": [
                    TURN,
                    {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "parameters": {"a": 1}}]},
                ]
            },
            "a tool call of message 1 has the key parameters, which nothing here reads",
        ),
        (
            {"messages": [TURN, {"role": "assistant", "tool_calls": [{"function": {"name": "f"}, "note": "n"}]}]},
            "a tool call of message 1 has the key note, .* or list it in not_rendered",
        ),
        ({"prompt": "q", "input": "i", "response": "a"}, "the column input is one that a model would see"),
        ({"prompt": "q", "context": "c", "response": "a"}, "the column context is one that a model would see"),
        (
            {
                "prompt": [TURN, {"role": "assistant", "content": "It"}],
                "completion": [{"role": "assistant", "content": "is"}],
            },
            "put the beginning of an answer into the response",
        ),
        ({"prompt": "q", "tools": "no json"}, "tools must be a list of JSON schemas; found no json"),
        ({"prompt": "q", "chat_template_kwargs": [1]}, "the arguments of a chat template must be a mapping"),
        ({"prompt": "q", "chat_template_kwargs": {"messages": []}}, "a chat template's messages cannot be given"),
        ({"prompt": "other", "messages": [TURN]}, "the prompt is not in the conversation: name in columns"),
        (
            {
                "prompt": "other",
                "chosen": [TURN, {"role": "assistant", "content": "a"}],
                "rejected": [TURN, {"role": "assistant", "content": "b"}],
            },
            "the prompt is not in the conversation: .* list the prompt's column in not_rendered",
        ),
        ({"prompt": "q", "response": "a", "completion": "b"}, "response and completion could both be the response"),
        (
            {
                "chosen": [TURN, {"role": "assistant", "content": "a"}],
                "rejected": [{"role": "assistant", "content": "b"}],
            },
            "must begin with the same turns",
        ),
    ],
)
def test_malformed_conversations_are_refused_with_what_was_found(
    tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=f"data.set, row 0.*{words}"):
        one(tmp_path, fields)


def test_tools_and_calls_may_be_written_as_json_text_or_without_the_wrapping(tmp_path: Path) -> None:
    call = {"name": "weather", "arguments": '{"city": "Oslo"}', "id": "c"}
    turns = [TURN, {"role": "assistant", "content": "", "tool_calls": [call]}]
    example = one(tmp_path, {"messages": turns, "tools": '[{"name": "weather"}]'})
    assert example.tools == ({"name": "weather"},)
    function = {"name": "weather", "arguments": {"city": "Oslo"}}
    assert example.completion[0].tool_calls == ({"type": "function", "id": "c", "function": function},)


# Refused when the template leaves something out


@pytest.mark.parametrize(
    ("template", "example", "words"),
    [
        ("gemma", row([user("q")], [assistant("a")], tools=(WEATHER,)), "nothing in it writes tools"),
        (
            "qwen3_instruct_2507",
            row([user("q")], [assistant("a")], template_arguments={"enable_thinking": True}),
            "nothing in it writes the template argument enable_thinking",
        ),
        (
            "qwen2_5",
            row([user("q")], [assistant("a", reasoning_content="r")]),
            "nothing in it writes reasoning_content",
        ),
        (
            "llama3_1",
            row([user("q")], [assistant("Let me see.", tool_calls=(CALL,)), tool("3 C"), assistant("3 C")]),
            r"nothing in it writes the content of message 1 \(assistant\)",
        ),
        (
            "llama3_1",
            row([user("q"), assistant("See.", tool_calls=(CALL,)), tool("3 C")], [assistant("3 C", train=True)]),
            r"nothing in it writes the content of message 1 \(assistant\)",
        ),
        (
            "qwen3_training",
            row([Message(role="user", content="q", name="Ada")], [assistant("a")]),
            r"nothing in it writes the name of message 0 \(user\)",
        ),
        (
            "cohere2",
            row([Message(role="developer", content="d"), user("q")], [assistant("a")]),
            r"nothing in it writes the content of message 0 \(developer\)",
        ),
        (
            "gemma4",
            row([user("q")], [assistant("a", reasoning_content="r")]),
            r"nothing in it writes the reasoning_content of message 1 \(assistant\)",
        ),
        ("llama3", row([user("q")], [assistant("", tool_calls=(CALL,))]), "must write the tool_calls of the data"),
    ],
)
def test_what_a_template_would_leave_out_is_refused_with_the_row(template: str, example: Example, words: str) -> None:
    with pytest.raises(ModelError, match=f"row s/7: .*{words}"):
        rendered(ChatFormat(with_trl_template(template)), example)


def test_a_prompt_of_which_a_part_would_vanish_is_refused_with_the_row() -> None:
    with pytest.raises(RlpostError, match=r"row s/7: .*nothing in it writes tools"):
        ChatFormat(with_trl_template("gemma")).render_prompts([row([user("q")], tools=(WEATHER,))])


def test_roles_that_a_template_writes_by_their_name_are_kept() -> None:
    assert trained("developer.jsonl", built_in("rlpost:plain")) == "Grass.<|eos|>"
