"""The only code that applies chat templates: messages -> token ids, and which of the tokens are trained.

One rule makes SFT, DPO and RL see the same prompt tokens: a prompt is tokenised alone, and what a template writes after
it for the answer is tokenised alone and put behind it, as a sampled answer is. That rule needs a template whose
rendering of the whole conversation begins with its rendering of the prompt; others are refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rlpost.errors import ModelError
from rlpost.records import FloatArray, IntArray, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BUILT_IN = "rlpost:"
GENERATION_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")
PROBE = (Message(role="user", content="question"),)
PROBE_ANSWER = "answer"


class RenderedAnswer(NamedTuple):
    """A conversation with its last answer, as tokens."""

    token_ids: IntArray
    """Prompt and answer, shape [T]; ends with the token that ends the assistant's turn."""
    weights_T: FloatArray
    """1 on the answer, its end token included; 0 on the prompt."""
    prompt_length: int
    """Tokens of the prompt, the generation prompt included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _AnswerText:
    """What a template writes after the prompt, to the end of the answer, and where training begins in it."""

    text: str
    trained_from: int


def chat_template_source(reference: str) -> str:
    """The Jinja source of `rlpost:plain`, `rlpost:tulu`, or a file.

    `rlpost:plain` spends one token a turn on markup with a tokenizer built by the recipe; `rlpost:tulu` is the format
    of TULU 3 (arXiv 2411.15124).

    Raises:
        ModelError: there is no such built-in template or file.
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


def stop_token_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that end an answer: end of sequence, and what the chat template ends an assistant's turn with."""
    return ChatFormat(tokenizer).stop_token_ids


class ChatFormat:
    """A tokenizer and its chat template, checked once, applied to many conversations.

    Of a conversation of several turns only the last answer is trained. A template with `{% generation %}` markers
    trains what lies between the last pair of them; without markers the whole answer is trained.
    """

    tokenizer: PreTrainedTokenizerBase
    stop_token_ids: tuple[int, ...]
    """End of sequence, and the token that ends an assistant's turn; for `Sampling`."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Check the template on a small conversation.

        Raises:
            ModelError: there is no chat template, it does not put the answer behind the prompt, or it does not end the
                answer with a special token.
        """
        self.tokenizer = tokenizer
        # transformers leaves most attributes of a tokenizer untyped.
        self._tokenizer: Any = tokenizer
        template = self._tokenizer.chat_template
        if not isinstance(template, str):
            raise ModelError(
                "the tokenizer must have one chat template; found "
                f"{'none' if template is None else 'several'}: set model.chat_template, for example rlpost:tulu"
            )
        self._template = template
        self._has_markers = GENERATION_MARKER.search(template) is not None
        ends = {self._end_of_turn(), self._tokenizer.eos_token_id}
        self.stop_token_ids = tuple(sorted(end for end in ends if end is not None))

    def render_prompt(self, messages: Sequence[Message]) -> IntArray:
        """Token ids of a prompt with the generation prompt at its end, shape [T]."""
        return self.render_prompts([messages])[0]

    def render_prompts(self, conversations: Sequence[Sequence[Message]]) -> list[IntArray]:
        """`render_prompt` of many conversations at once."""
        return [np.array(ids, np.int32) for ids in self._encode(self._prompt_texts(conversations))]

    def render_response(self, messages: Sequence[Message], response: str) -> RenderedAnswer:
        """Token ids of prompt and answer, with weight 1 on the answer and its end.

        Raises:
            ModelError: the template changes the prompt when an answer follows it.
        """
        return self.render_responses([messages], [response])[0]

    def render_responses(
        self, conversations: Sequence[Sequence[Message]], responses: Sequence[str]
    ) -> list[RenderedAnswer]:
        """`render_response` of many conversations at once."""
        prompts = self._prompt_texts(conversations)
        answers = self._answer_texts(conversations, responses, prompts)
        prompt_ids = self._encode(prompts)
        if not answers:
            return []
        encoded = self._tokenizer(
            [answer.text for answer in answers], add_special_tokens=False, return_offsets_mapping=True
        )
        columns = prompt_ids, encoded["input_ids"], encoded["offset_mapping"], answers
        return [_joined(*parts) for parts in zip(*columns, strict=True)]

    def _prompt_texts(self, conversations: Sequence[Sequence[Message]]) -> list[str]:
        texts, _ = self._render(conversations, generation_prompt=True)
        return texts

    def _answer_texts(
        self, conversations: Sequence[Sequence[Message]], responses: Sequence[str], prompts: Sequence[str]
    ) -> list[_AnswerText]:
        wholes, spans = self._render(
            [
                [*messages, Message(role="assistant", content=response)]
                for messages, response in zip(conversations, responses, strict=True)
            ],
            generation_prompt=False,
        )
        answers: list[_AnswerText] = []
        for prompt, whole, span in zip(prompts, wholes, spans, strict=True):
            if not whole.startswith(prompt):
                raise ModelError(
                    "the chat template must render a conversation so that it begins with the rendered prompt; "
                    f"the prompt ends with {prompt[-40:]!r}, the conversation with {whole[-60:]!r}: set "
                    "model.chat_template to a template whose generation prompt is what it writes before an answer"
                )
            start, stop = span if span is not None else (len(prompt), len(whole))
            # Line breaks behind the end-of-turn token are never sampled, so they are not part of the answer.
            stop = len(whole[:stop].rstrip())
            if stop <= len(prompt):
                raise ModelError(
                    "the chat template must mark the last answer with {% generation %} ... {% endgeneration %}; it "
                    "marks nothing behind the prompt: correct the markers or remove all of them"
                )
            text, trained_from = whole[len(prompt) : stop], max(0, start - len(prompt))
            answers.append(_AnswerText(text=text, trained_from=trained_from))
        return answers

    def _render(
        self, conversations: Sequence[Sequence[Message]], *, generation_prompt: bool
    ) -> tuple[list[str], list[tuple[int, int] | None]]:
        """Texts, and for each the (start, stop) characters of its last pair of markers, if any."""
        from transformers.utils import chat_template_utils

        templates: Any = chat_template_utils
        turns = [[{"role": turn.role, "content": turn.content} for turn in turns] for turns in conversations]
        try:
            texts, spans = templates.render_jinja_template(
                conversations=turns,
                chat_template=self._template,
                add_generation_prompt=generation_prompt,
                return_assistant_tokens_mask=self._has_markers,
                **self._tokenizer.special_tokens_map,
            )
        except Exception as error:  # A template computes, and can fail as any program.
            raise ModelError(
                f"the chat template must accept every conversation of the data; it refuses one: {error}. "
                "Change model.chat_template, or the roles in the data"
            ) from error
        if not self._has_markers:
            return texts, [None] * len(texts)
        return texts, [span[-1] if span else (0, 0) for span in spans]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        return self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]

    def _end_of_turn(self) -> int:
        token_id = int(self.render_response(PROBE, PROBE_ANSWER).token_ids[-1])
        added = self._tokenizer.added_tokens_decoder
        if token_id not in self._tokenizer.all_special_ids and not (token_id in added and added[token_id].special):
            raise ModelError(
                "the chat template must end an answer with a special token, or a model cannot learn to stop; it ends "
                f"with {self._tokenizer.decode([token_id])!r}: write {{{{ eos_token }}}} behind the answer, inside the "
                "{% generation %} markers where it has them, or set model.chat_template to another template"
            )
        return token_id


def _joined(
    prompt_ids: list[int], answer_ids: list[int], offsets: list[tuple[int, int]], answer: _AnswerText
) -> RenderedAnswer:
    """Prompt and answer end to end; a token is trained when it begins at or behind `answer.trained_from`."""
    starts = np.array([start for start, _ in offsets])
    weights_T = np.concatenate([np.zeros(len(prompt_ids)), starts >= answer.trained_from])
    return RenderedAnswer(
        token_ids=np.array(prompt_ids + answer_ids, np.int32),
        weights_T=weights_T.astype(np.float32),
        prompt_length=len(prompt_ids),
    )
