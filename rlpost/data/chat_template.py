"""A chat template, and the forms in which it expects the parts of a conversation; renders messages to text and
spans.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rlpost.data.deadline import DeadlineError, deadline
from rlpost.errors import ModelError
from rlpost.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BUILT_IN = "rlpost:"
LONGEST_RENDERING_S = 20.0
"""Longest time to render one conversation; templates take milliseconds, and one that loops would never end."""
FIXED_DATE = datetime.datetime(2024, 7, 26)
"""The date that templates write as today's, which is that of Llama 3's templates without a clock. With the real one,
the prompts of a run would change at midnight."""
GENERATION_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""Names under which templates read the reasoning of a turn; the first one that a template reads is used."""
RESERVED_ARGUMENTS = frozenset(
    {"messages", "tools", "add_generation_prompt", "continue_final_message", "chat_template", "conversations"}
    | {"return_assistant_tokens_mask", "strftime_now"}
)
"""Template arguments that a data set may not set."""

_QUESTION = Message(role="user", content="tried0question")
_TOOL, _VALUE = "tried1tool", "tried2value"


class Rendered(NamedTuple):
    """A conversation as text."""

    text: str
    blocks: list[tuple[int, int]]
    """(start, stop) characters of each `{% generation %}` block, in order; empty for a template without markers."""


class _CallForm(NamedTuple):
    """The form in which a template expects tool calls."""

    empty_content: str | None
    """The content of a turn that consists only of calls."""
    arguments_as_text: bool
    """Whether arguments are JSON text instead of a mapping."""


def chat_template_source(reference: str) -> str:
    """Return the Jinja source of `rlpost:plain`, `rlpost:tulu`, `rlpost:tulu_bos`, or a file.

    With a tokenizer built by the recipe, `rlpost:plain` spends one token per turn on markup; `rlpost:tulu` is the
    format of TULU 3 (arXiv 2411.15124), as published with its Llama models; `rlpost:tulu_bos` begins it with the
    tokenizer's first token, as published with OLMo 2.

    Raises:
        ModelError: the built-in template or the file does not exist.
    """
    if reference.startswith(BUILT_IN):
        folder = resources.files("rlpost.data") / "templates"
        known = sorted(entry.name.removesuffix(".jinja") for entry in folder.iterdir())
        name = reference.removeprefix(BUILT_IN)
        if name not in known:
            raise ModelError(
                f"model.chat_template must be a file or one of {', '.join(BUILT_IN + entry for entry in known)}; "
                f"found {reference!r}"
            )
        return (folder / f"{name}.jinja").read_text(encoding="utf-8").rstrip("\n")
    try:
        return Path(reference).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"model.chat_template must be a readable Jinja file; found: {error}") from error


class ChatTemplate:
    """The template of a tokenizer, rendered by transformers.

    Templates differ in the forms that they expect: content as text or as a list of parts, arguments of a call as a
    mapping or as JSON text, the content of a pure call empty or absent, and the name of the reasoning. The forms of
    this template are found once, by tests on a small conversation.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Take the tokenizer's template.

        Raises:
            ModelError: there is none or several, or it does not write the content of a user turn.
        """
        # transformers leaves most attributes of a tokenizer untyped.
        untyped: Any = tokenizer
        source = untyped.chat_template
        if not isinstance(source, str):
            raise ModelError(
                "the tokenizer must have one chat template; found "
                f"{'none' if source is None else 'several'}: set model.chat_template, for example rlpost:tulu"
            )
        self._source = source
        self._special_tokens: dict[str, Any] = dict(untyped.special_tokens_map)
        self.has_markers = GENERATION_MARKER.search(source) is not None
        self.reasoning_key = next((key for key in REASONING_KEYS if _reads_key(source, key)), None)
        """The name under which it reads the reasoning of a turn; None if it reads none."""
        self._content_in_parts = self._wants_parts()

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]],
        arguments: Mapping[str, Any],
        generation_prompt: bool,
    ) -> Rendered:
        """Return the text of a conversation; `generation_prompt` adds the text before an answer that is yet to come.

        Raises:
            ModelError: the template rejects the conversation, or fails on it.
        """
        calls = any(message.tool_calls for message in messages)
        form = self.call_form if calls else None
        turns = [self._turn(message, form) for message in messages]
        return self._render(turns, tools=tools, arguments=arguments, generation_prompt=generation_prompt)

    @functools.cached_property
    def variables(self) -> frozenset[str]:
        """The names of the arguments that the template reads, including `messages` and `tools`."""
        from transformers.utils import chat_template_utils

        templates: Any = chat_template_utils
        return templates._get_template_variables(self._source)

    @functools.cached_property
    def call_form(self) -> _CallForm:
        """The form in which the template writes a tool call with its name and arguments.

        Raises:
            ModelError: it writes no form of tool call.
        """
        reasons: list[str] = []
        for form in (_CallForm("", False), _CallForm(None, False), _CallForm("", True), _CallForm(None, True)):
            call = {"id": "call00001", "type": "function"}
            function = {"name": _TOOL, "arguments": {"key": _VALUE}}
            asked = [_QUESTION, Message(role="assistant", tool_calls=({**call, "function": function},))]
            try:
                text = self._render([self._turn(turn, form) for turn in asked]).text
            except ModelError as error:
                reasons.append(str(error))
                continue
            # Some templates write the word None for absent content.
            if _TOOL in text and _VALUE in text and "None" not in text:
                return form
        raise ModelError(
            "the chat template must write the tool_calls of the data with their names and arguments; it writes none"
            + (f" ({reasons[0]})" if len(reasons) == 4 else "")
            + ": set model.chat_template to one that knows tools, or take the rows out"
        )

    def _wants_parts(self) -> bool:
        problem: ModelError | None = None
        for in_parts in (False, True):
            self._content_in_parts = in_parts
            try:
                if _QUESTION.text in self._render([self._turn(_QUESTION, None)], generation_prompt=True).text:
                    return in_parts
            except ModelError as error:
                problem = problem or error
        if problem is not None:
            raise problem
        raise ModelError("the chat template must write the content of a user turn; it writes none: correct it")

    def _turn(self, message: Message, form: _CallForm | None) -> dict[str, Any]:
        turn = message.as_dict()
        if message.reasoning_content is not None and self.reasoning_key is not None:
            turn[self.reasoning_key] = turn.pop("reasoning_content")
        if message.tool_calls and form is not None:
            turn["content"] = message.content or form.empty_content
            turn["tool_calls"] = [_call(call, as_text=form.arguments_as_text) for call in message.tool_calls]
        if self._content_in_parts and turn["content"] is not None:
            turn["content"] = [{"type": "text", "text": turn["content"]}]
        return turn

    def _render(
        self,
        turns: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        arguments: Mapping[str, Any] = {},
        generation_prompt: bool = False,
    ) -> Rendered:
        from transformers.utils import chat_template_utils

        templates: Any = chat_template_utils
        given = {"strftime_now": FIXED_DATE.strftime, **self._special_tokens, **arguments}
        try:
            with deadline(LONGEST_RENDERING_S):
                texts, spans = templates.render_jinja_template(
                    conversations=[turns],
                    tools=list(tools) or None,
                    chat_template=self._source,
                    add_generation_prompt=generation_prompt,
                    return_assistant_tokens_mask=self.has_markers,
                    **given,
                )
        except DeadlineError as error:
            raise ModelError(
                f"the chat template must render a conversation within {LONGEST_RENDERING_S:.0f} s; it did not: change "
                "model.chat_template"
            ) from error
        except Exception as error:  # A template is a program, and can fail like any program.
            raise ModelError(
                f"the chat template must accept every conversation of the data; it refuses one: {error}. "
                "Change model.chat_template, or the roles in the data"
            ) from error
        return Rendered(text=texts[0], blocks=spans[0] if self.has_markers else [])


def _call(call: Mapping[str, Any], *, as_text: bool) -> dict[str, Any]:
    if not as_text:
        return dict(call)
    function = call["function"]
    return {**call, "function": {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}}


def _reads_key(source: str, key: str) -> bool:
    return re.search(rf"(\.|\[['\"]|get\(['\"]){key}\b", source) is not None
