"""Every chat template that TRL ships gives the tokens and the mask that transformers gives, or stands in a table here.

transformers tokenises a conversation as one text and masks the text between `{% generation %}` markers. Three things
differ here on purpose, and are asserted: white space behind the last answer is cut off, characters of a generation
prompt are not trained although some templates mark them, and a template that cannot show a conversation as the model
writes it is refused.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from conversations import (
    CALL,
    TRL_TEMPLATES,
    WEATHER,
    assistant,
    rendered,
    row,
    tool,
    trained_text,
    user,
    whole_text,
    with_trl_template,
)
from transformers import PreTrainedTokenizerFast

from rlpost.data.chat import ChatFormat
from rlpost.data.chat_template import FIXED_DATE
from rlpost.errors import ModelError
from rlpost.records import Example, Message

CONVERSATIONS: Mapping[str, Example] = {
    "one turn": row([user("q")], [assistant("a")]),
    "three turns": row([user("q1"), assistant("a1"), user("q2"), assistant("a2"), user("q3")], [assistant("a3")]),
    "reasoning": row([user("q")], [assistant("a", reasoning_content="why")]),
    "tools": row(
        [user("q")], [assistant(None, tool_calls=(CALL,)), tool("3 C"), assistant("It is 3 C.")], tools=(WEATHER,)
    ),
}
CALLED = row([user("q"), assistant(None, tool_calls=(CALL,)), tool("3 C")])
NAMES = sorted(path.stem for path in TRL_TEMPLATES.glob("*.jinja"))

# The shape in which a template wants a conversation, where it is not the usual one.

IN_PARTS = {"idefics3", "idefics3_training", "llava_next", "llava_next_training", "smolvlm", "smolvlm_training"}
"""Content as a list of parts."""
READS_THINKING = {"gptoss", "gptoss_training", "lfm2_2_5"}
"""Reasoning under the key `thinking`."""
DEEPSEEK = {"deepseek_r1_distill", "deepseek_r1_distill_training", "deepseekv3", "deepseekv3_training"}
"""Calls only where the content is null, and their arguments as JSON text, but for one that writes the text itself."""
ARGUMENTS_AS_TEXT = DEEPSEEK - {"deepseekv3_training"}

# The masks of these templates begin inside the generation prompt, which is given at sampling time.

MARKED_PROMPTS = {
    "gptoss_training": "<|start|>assistant",
    "muse_glimmer_training": "<|start|>assistant",
    "nemotron_3_5_lightning_training": "<think>\n",
    "nemotron_3_nano_training": "<think>\n",
    "nemotron_3_super_training": "<think>\n",
    "nemotron_3_ultra_training": "<think>\n",
    "qwen2_5_training": "\n",
    "qwen3_5_nothink_training": "<think>\n\n</think>\n\n",
    "qwen3_5_think_training": "<think>\n",
    "qwen3_6_training": "<think>\n",
    "qwen3_8_training": "<think>\n",
}

# Refused, and why. An answer is trained where it stands only in the form in which the model writes it.

NO_END, OPENED, CHANGED = "must end an answer", "begins with the rendered prompt", "has another form once other turns"
UNREAD, DROPPED, NO_CALLS = "writes reasoning_content:", "writes the reasoning_content of", "must write the tool_calls"
NEMOTRON = {
    f"nemotron_3_{size}{kind}" for size in ("5_lightning", "nano", "super", "ultra") for kind in ("", "_training")
}
NO_TOOLS = {
    *(
        "cohere",
        "cohere_training",
        "cohere2",
        "cohere2_training",
        "gemma",
        "gemma_training",
        "gemma3",
        "gemma3_training",
    ),
    *("idefics3", "idefics3_training", "lfm2", "lfm2_training", "llama3", "llama3_training", "llava_next"),
    *("llava_next_training", "phi3", "phi3_training", "phi3_5", "phi3_5_training", "qwen2_5_vl", "qwen2_5_vl_training"),
    *("smolvlm", "smolvlm_training"),
}
NO_REASONING = {
    *NO_TOOLS,
    *("gemma4_v2", "lfm2_v2", "lfm2_v2_training", "llama3_1", "llama3_2", "qwen2_5", "qwen2_5_training", "qwen3_vl"),
    *("qwen3_vl_training", "qwen3_instruct_2507", "qwen3_instruct_2507_training"),
}
REFUSED: Mapping[str, Sequence[tuple[set[str], str]]] = {
    # Their generation prompt opens a block of reasoning, which an answer without reasoning does not have.
    "one turn": [(DEEPSEEK | NEMOTRON, OPENED), ({"glm4moe"}, NO_END)],
    # These show earlier answers without their reasoning block, or with another end.
    "three turns": [
        (DEEPSEEK | NEMOTRON, OPENED),
        ({"glm4moe", "gptoss", "qwen3", "qwen3_5_nothink", "qwen3_5_think", "qwen3_6"}, CHANGED),
    ],
    # Gemma 4 writes reasoning before tool calls only; DeepSeek wants it inside the content; nothink closes the block.
    "reasoning": [
        (NO_REASONING, UNREAD),
        ({"gemma4", "gemma4_v3", "gemma4_v4"}, DROPPED),
        ({*DEEPSEEK, "qwen3_5_nothink", "qwen3_5_nothink_training"}, OPENED),
        ({"glm4moe"}, NO_END),
    ],
    "tools": [(NO_TOOLS, NO_CALLS), (DEEPSEEK | NEMOTRON, OPENED), ({"qwen3"}, CHANGED), ({"glm4moe"}, NO_END)],
}


def refusal(name: str, case: str) -> str | None:
    return next((words for names, words in REFUSED[case] if name in names), None)


def chat_of(tokenizer: PreTrainedTokenizerFast) -> ChatFormat:
    # GLM ends a turn by the next one's first token, which only its generation config says.
    return ChatFormat(tokenizer, model_stops=tokenizer.convert_tokens_to_ids(["<|user|>"]))


def oracle_turns(name: str, turns: Sequence[Message]) -> list[dict[str, Any]]:
    """The conversation as a user of transformers would write it for this template."""
    written: list[dict[str, Any]] = []
    for message in turns:
        turn = message.as_dict()
        if "reasoning_content" in turn and name in READS_THINKING:
            turn["thinking"] = turn.pop("reasoning_content")
        if "tool_calls" in turn and name in ARGUMENTS_AS_TEXT:
            function = {"name": "weather", "arguments": json.dumps({"city": "Oslo"})}
            turn["tool_calls"] = [{**CALL, "function": function}]
        elif "tool_calls" in turn and name not in DEEPSEEK:
            turn["content"] = ""
        if name in IN_PARTS:
            turn["content"] = [{"type": "text", "text": turn["content"]}]
        written.append(turn)
    return written


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CONVERSATIONS)
def test_tokens_and_mask_are_those_of_transformers(name: str, case: str) -> None:
    tokenizer, example = with_trl_template(name), CONVERSATIONS[case]
    chat, words = chat_of(tokenizer), refusal(name, case)
    if words is not None:
        with pytest.raises(ModelError, match=f"row s/7: .*{words}"):
            rendered(chat, example)
        return
    conversation = rendered(chat, example)
    marked = "generation %}" in (TRL_TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
    turns = oracle_turns(name, [*example.messages, *example.completion])
    oracle = tokenizer.apply_chat_template(
        turns,
        tools=list(example.tools) or None,
        return_dict=True,
        return_assistant_tokens_mask=marked,
        strftime_now=FIXED_DATE.strftime,
    )
    length = len(conversation.token_ids)
    assert oracle["input_ids"][:length] == conversation.token_ids.tolist()
    # Phi-3 closes a conversation with the end of sequence, behind the end of the turn.
    assert tokenizer.decode(oracle["input_ids"][length:]).strip() in ("", "<|eos|>" if "phi3" in name else "")
    answers = sum(turn["role"] == "assistant" for turn in turns)
    if marked:
        mask = oracle["assistant_masks"][:length]
        ours = conversation.weights_T.tolist()
        assert all(theirs >= mine for theirs, mine in zip(mask, ours, strict=True))
        given = [
            token for token, theirs, mine in zip(conversation.token_ids, mask, ours, strict=True) if theirs and not mine
        ]
        assert tokenizer.decode(given) == MARKED_PROMPTS.get(name, "") * answers
    else:
        # Each answer runs from its generation prompt to its end.
        trained = trained_text(chat, conversation)
        assert trained.count(tokenizer.decode(conversation.token_ids[-1:])) >= 1
        assert all(
            turn.text in trained for turn in (*example.messages, *example.completion) if turn.role == "assistant"
        )
        assert not any(turn.text in trained for turn in example.messages if turn.role == "user" and len(turn.text) > 1)


OTHER_TOOL_TURNS = {
    "qwen3": "its training template gives a tool call an empty block of reasoning",
    "diffusion_gemma": "its training template does not mark the header of a turn behind a tool's answer",
}
PAIRS = [
    (name, case)
    for name in NAMES
    for case in CONVERSATIONS
    if f"{name}_training" in NAMES
    and not (refusal(name, case) or refusal(f"{name}_training", case) or (case == "tools" and name in OTHER_TOOL_TURNS))
]


@pytest.mark.parametrize(("name", "case"), PAIRS)
def test_without_markers_the_same_is_trained_as_with_the_markers_that_trl_adds(name: str, case: str) -> None:
    plain, marked = (chat_of(with_trl_template(template)) for template in (name, f"{name}_training"))
    one, other = (rendered(chat, CONVERSATIONS[case]) for chat in (plain, marked))
    end = str(plain.tokenizer.decode(one.token_ids[-1:]))

    def answers(text: str) -> list[str]:
        # Some markers hold white space behind an end; Phi-3's hold the end of sequence behind the last one.
        return [part.strip() for part in text.removesuffix("<|eos|>").split(end)]

    assert whole_text(plain, one) == whole_text(marked, other).removesuffix("<|eos|>").rstrip()
    assert answers(trained_text(plain, one)) == answers(trained_text(marked, other))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["one turn", "three turns", "called"])
def test_prompts_are_those_of_transformers_for_every_template(name: str, case: str) -> None:
    """Reasoning blocks that a generation prompt opens are a part of it."""
    tokenizer = with_trl_template(name)
    example = CALLED if case == "called" else CONVERSATIONS[case]
    if case == "called" and name in NO_TOOLS:
        with pytest.raises(ModelError, match=f"row s/7: .*{NO_CALLS}"):
            chat_of(tokenizer).render_prompts([example])
        return
    [prompt] = chat_of(tokenizer).render_prompts([example])
    oracle = tokenizer.apply_chat_template(
        oracle_turns(name, example.messages), add_generation_prompt=True, strftime_now=FIXED_DATE.strftime
    )
    assert prompt.tolist() == oracle["input_ids"]


def test_deepseek_is_trained_with_its_reasoning_inside_the_content() -> None:
    chat = chat_of(with_trl_template("deepseek_r1_distill_training"))
    example = row([user("q")], [assistant("<think>\nwhy\n</think>\n\na")])
    assert trained_text(chat, rendered(chat, example)) == "why\n</think>\n\na<｜end▁of▁sentence｜>"  # noqa: RUF001 - its bars


def test_the_table_knows_every_template() -> None:
    assert len(NAMES) == 72
    named = {*IN_PARTS, *READS_THINKING, *DEEPSEEK, *MARKED_PROMPTS, *NEMOTRON, *NO_REASONING, *OTHER_TOOL_TURNS}
    assert named <= set(NAMES)
