"""Random conversations with calls, empty contents and any Unicode: tokens and masks are those of transformers."""

from typing import Any

import numpy as np
from conversations import CALL, WEATHER, assistant, rendered, row, tool, user, with_trl_template
from hypothesis import given, settings
from hypothesis import strategies as st

from rlpost.data.chat import ChatFormat
from rlpost.data.trained_spans import trained_turns
from rlpost.records import Example, Message

# Control characters and lone surrogates are no text that a data set may hold.
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.just("\n"), max_size=12)
VALUES = st.dictionaries(st.sampled_from(["city", "day"]), TEXTS | st.integers() | st.none(), max_size=2)
FLAGS = st.sampled_from([None, True, False])
TOKENIZER = with_trl_template("qwen3_training")
CHAT = ChatFormat(TOKENIZER)
UNMARKED = ChatFormat(with_trl_template("qwen2_5"))


@st.composite
def exchanges(draw: st.DrawFn) -> list[Message]:
    """A question, perhaps tool calls with their answers, and an answer."""
    turns = [user(draw(TEXTS))]
    for _ in range(draw(st.integers(0, 2))):
        function = {"name": "weather", "arguments": draw(VALUES)}
        calls = ({**CALL, "function": function},) * draw(st.integers(1, 2))
        turns.append(assistant(draw(st.none() | TEXTS), tool_calls=calls, train=draw(FLAGS)))
        turns += [tool(draw(TEXTS)) for _ in calls]
    turns.append(assistant(draw(TEXTS), reasoning_content=draw(st.none() | TEXTS), train=draw(FLAGS)))
    return turns


@st.composite
def conversations(draw: st.DrawFn) -> Example:
    """The last answer is always trained, so that something is."""
    system = [Message(role="system", content=draw(TEXTS))] if draw(st.booleans()) else []
    before = [turn for exchange in draw(st.lists(exchanges(), max_size=2)) for turn in exchange]
    *last, answer = draw(exchanges())
    completion = [*last[1:], assistant(answer.content, reasoning_content=answer.reasoning_content, train=True)]
    tools = (WEATHER,) if draw(st.booleans()) else ()
    return row([*system, *before, last[0]], completion, tools=tools)


def oracle(example: Example) -> Any:
    turns = [turn.as_dict() for turn in (*example.messages, *example.completion)]
    for turn in turns:
        turn["content"] = turn["content"] or ""
    return TOKENIZER.apply_chat_template(
        turns, tools=list(example.tools) or None, return_dict=True, return_assistant_tokens_mask=True
    )


@settings(max_examples=150)
@given(conversations())
def test_tokens_are_those_of_transformers_and_the_mask_is_its_mask_of_the_trained_turns(example: Example) -> None:
    conversation, expected = rendered(CHAT, example), oracle(example)
    length = len(conversation.token_ids)
    assert expected["input_ids"][:length] == conversation.token_ids.tolist()
    # One run of marked tokens an assistant's turn, in order.
    mask = np.array([0, *expected["assistant_masks"], 0])
    starts, stops = np.flatnonzero(np.diff(mask) == 1), np.flatnonzero(np.diff(mask) == -1)
    places = [index for index, turn in enumerate([*example.messages, *example.completion]) if turn.role == "assistant"]
    assert len(places) == len(starts)
    wanted_T = np.zeros(len(expected["input_ids"]), np.float32)
    for place, start, stop in zip(places, starts, stops, strict=True):
        wanted_T[start:stop] = place in trained_turns(example, train_on="all")
    assert conversation.weights_T.tolist() == wanted_T[:length].tolist()


@settings(max_examples=100)
@given(conversations())
def test_without_markers_every_trained_turn_is_trained_from_its_prompt_to_its_end(example: Example) -> None:
    turns = [
        Message(role=turn.role, content=turn.content, tool_calls=turn.tool_calls, train=turn.train)
        for turn in (*example.messages, *example.completion)
    ]
    cut = len(example.messages)
    plain = row(turns[:cut], turns[cut:], tools=example.tools)
    conversation = rendered(UNMARKED, plain)
    trained = UNMARKED.tokenizer.decode(conversation.token_ids[conversation.weights_T > 0])
    places = trained_turns(plain, train_on="all")
    assert trained.count("<|im_end|>") == len(places)
    for place, part in zip(places, trained.split("<|im_end|>"), strict=False):
        assert part.startswith(turns[place].text)
        assert part.count("<tool_call>") == len(turns[place].tool_calls)
    [prompt] = UNMARKED.render_prompts([plain])
    assert conversation.token_ids[: conversation.prompt_length].tolist() == prompt.tolist()
