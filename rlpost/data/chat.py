"""Turns conversations into token ids, and marks the trained ones; `chat_template.py` makes the text.

One rule makes SFT, DPO and RL see the same prompt tokens: a prompt is tokenised alone, and the template's text for the
answer is tokenised alone and appended, just as a sampled answer is. The rule needs a template whose rendering of the
whole conversation begins with its rendering of the prompt. Other templates, such as those that open a reasoning block
in the prompt and omit it from the answer, can be used for sampling, but their demonstrations are rejected.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlpost.data.chat_template import ChatTemplate
from rlpost.data.template_coverage import TemplateCoverage
from rlpost.data.tokenizer import encoding_errors
from rlpost.data.trained_spans import TrainedText, TrainOn, TurnEnd, no_end, trained_text, trained_turns
from rlpost.errors import ModelError
from rlpost.records import Example, FloatArray, IntArray, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GENERATION_CONFIG = "generation_config.json"
_QUESTION = Message(role="user", content="question")
_ANSWER = Message(role="assistant", content="tried0answer")


class _Encoded(NamedTuple):
    token_ids: IntArray
    starts_T: NDArray[np.int64]
    """The character at which each token begins; empty for a slow tokenizer."""


class RenderedConversation(NamedTuple):
    """A conversation up to the end of its last answer, as tokens."""

    token_ids: IntArray
    """Prompt and completion, shape [T]; it ends with the token that ends the assistant's turn."""
    weights_T: FloatArray
    """Loss weights: 1 on the trained answers, including their end tokens, and 0 elsewhere."""
    prompt_length: int
    """Number of tokens of the prompt, including the generation prompt."""


def model_stop_ids(model_dir: Path) -> tuple[int, ...]:
    """Return the tokens at which a model's own `generation_config.json` ends an answer.

    Raises:
        ModelError: the file is not JSON, or names something that is not a token.
    """
    path = model_dir / GENERATION_CONFIG
    if not path.is_file():
        return ()
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} must be a JSON object; found: {error}") from error
    ids: list[Any] = found if isinstance(found, list) else [] if found is None else [found]
    if not all(isinstance(token_id, int) and token_id >= 0 for token_id in ids):
        raise ModelError(f"eos_token_id in {path} must be a token id or a list of them; found {found!r}")
    return tuple(ids)


class ChatFormat:
    """A tokenizer and its chat template, tested once, applied to many conversations.

    With `{% generation %}` markers in the template, the marked text is trained; without markers, an answer is trained
    from its generation prompt to its end.
    """

    tokenizer: PreTrainedTokenizerBase
    stop_token_ids: tuple[int, ...]
    """The tokens that end an answer: end of sequence, the token with which the template ends an assistant's turn, and
    those of the model. They are used for `Sampling`, and for the `generation_config.json` of the trained model."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, model_stops: Sequence[int] = ()) -> None:
        """Test the template on a small conversation.

        Args:
            tokenizer: A tokenizer with a chat template.
            model_stops: Tokens at which the given model ends an answer (`model_stop_ids`).

        Raises:
            ModelError: there is no chat template, it writes no content, or no token ends an answer.
        """
        self.tokenizer = tokenizer
        # transformers leaves most attributes of a tokenizer untyped.
        self._tokenizer: Any = tokenizer
        if self._tokenizer.is_fast:
            self._backend: Any = copy.deepcopy(self._tokenizer.backend_tokenizer)
            self._backend.no_truncation()
            self._backend.no_padding()
        self._template = ChatTemplate(tokenizer)
        self._coverage = TemplateCoverage(self._template)
        added: dict[int, Any] = self._tokenizer.added_tokens_decoder
        special = {*self._tokenizer.all_special_ids, *(token_id for token_id, token in added.items() if token.special)}
        self._special_ids: frozenset[int] = frozenset(special)
        self._end = self._turn_end()
        ends = {*model_stops, self._end.token_id, self._tokenizer.eos_token_id}
        self.stop_token_ids = tuple(sorted(end for end in ends if end is not None))
        if self._end.token_id is None and set(self.stop_token_ids) <= {self._tokenizer.eos_token_id}:
            raise no_end(self._render([_QUESTION, _ANSWER])[-20:])

    @property
    def unwritten_beginning(self) -> str | None:
        """The token with which the tokenizer begins every text, if the template does not write it."""
        token: str | None = self._tokenizer.bos_token
        with encoding_errors():
            begins = self._tokenizer("a").input_ids[:1] == [self._tokenizer.bos_token_id]
        if token is None or not begins or self._render([_QUESTION, _ANSWER]).startswith(token):
            return None
        return token

    def render_prompts(self, examples: Sequence[Example]) -> list[IntArray]:
        """Return the token ids of each prompt with the generation prompt at its end, shape [T].

        Raises:
            ModelError: the template rejects a prompt, or would omit a part of it.
        """
        texts: list[str] = []
        for example in examples:
            with _row_named(example):
                tools, arguments = example.tools, example.template_arguments
                rendered = self._template.render(
                    example.messages, tools=tools, arguments=arguments, generation_prompt=True
                )
                self._coverage.check(example.messages, trained=(), tools=tools, arguments=arguments)
                texts.append(rendered.text)
        return [encoded.token_ids for encoded in self._encode(texts)]

    def render_conversations(self, examples: Sequence[Example], *, train_on: TrainOn) -> list[RenderedConversation]:
        """Return the token ids of each prompt with its completion, and weight 1 on the trained answers.

        Raises:
            ModelError: the template rejects a conversation, would omit a part of it, or does not put the completion
                after the prompt.
            DataError: no turn of a row is trained.
        """
        if not self._tokenizer.is_fast:
            raise ModelError(
                "the tokenizer must say which characters each token stands for, or answers cannot be told from "
                f"prompts; {type(self.tokenizer).__name__} does not: give the model a tokenizer.json (a fast tokenizer)"
            )
        texts = [self._trained_text(example, train_on=train_on) for example in examples]
        prompts = self._encode([text.prompt for text in texts])
        completions = self._encode([text.completion for text in texts])
        rendered = [_joined(*parts) for parts in zip(texts, prompts, completions, strict=True)]
        for example, conversation in zip(examples, rendered, strict=True):
            if int(conversation.token_ids[-1]) not in self._special_ids:
                with _row_named(example):
                    raise no_end(self._tokenizer.decode(conversation.token_ids[-1:]))
        return rendered

    def save(self, model_dir: Path) -> None:
        """Write the tokenizer beside a model, and the stop tokens into the model's generation config, if it has one."""
        self._tokenizer.save_pretrained(str(model_dir))
        path = model_dir / GENERATION_CONFIG
        if path.is_file():
            config = json.loads(path.read_text(encoding="utf-8"))
            stops = list(self.stop_token_ids)
            config["eos_token_id"] = stops if len(stops) > 1 else stops[0]
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def _trained_text(self, example: Example, *, train_on: TrainOn) -> TrainedText:
        turns = [*example.messages, *example.completion]
        trained = trained_turns(example, train_on=train_on)
        with _row_named(example):
            text = trained_text(example, trained=trained, template=self._template, end=self._end)
            self._coverage.check(turns, trained=trained, tools=example.tools, arguments=example.template_arguments)
        return text

    def _encode(self, texts: Sequence[str]) -> list[_Encoded]:
        if not texts:
            return []
        with encoding_errors():
            if not self._tokenizer.is_fast:
                ids: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
                return [_Encoded(np.array(one, np.int32), np.empty(0, np.int64)) for one in ids]
            # The library beneath transformers gives the same tokens, without a copy of every one in Python lists.
            encodings = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [
            _Encoded(np.array(one.ids, np.int32), np.array(one.offsets, np.int64).reshape(-1, 2)[:, 0])
            for one in encodings
        ]

    def _render(self, messages: Sequence[Message]) -> str:
        return self._template.render(messages, tools=(), arguments={}, generation_prompt=False).text

    def _turn_end(self) -> TurnEnd:
        """Find the last special token that the template writes after an answer, whether or not a turn follows."""
        literals = sorted(self._tokenizer.convert_ids_to_tokens(sorted(self._special_ids)), key=len, reverse=True)
        pattern = re.compile("|".join(re.escape(literal) for literal in literals))
        alone = _behind_answer(self._render([_QUESTION, _ANSWER]))
        try:
            followed = _behind_answer(self._render([_QUESTION, _ANSWER, _QUESTION]))
        except ModelError:  # A template for a single question: nothing ever follows.
            followed = alone
        ends = [match for match in pattern.finditer(alone) if followed.startswith(alone[: match.end()])]
        if not ends and (last := pattern.search(alone)) is not None:
            ends = [last]
        if not ends:
            return TurnEnd(token_id=None, closing="", special_tokens=pattern)
        token_id = int(self._tokenizer.convert_tokens_to_ids(ends[-1].group()))
        return TurnEnd(token_id=token_id, closing=alone[ends[-1].end() :].strip(), special_tokens=pattern)


@contextmanager
def _row_named(example: Example) -> Generator[None]:
    """Add the row to the template's error message."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"row {example.id}: {error}") from error


def _behind_answer(text: str) -> str:
    before, answer, behind = text.rpartition(_ANSWER.text)
    if not answer:
        raise ModelError(
            "the chat template must write the content of an assistant's turn; it writes none of it in "
            f"{before[-60:] or behind[-60:]!r}: correct it, or set model.chat_template to another template"
        )
    return behind


def _joined(text: TrainedText, prompt: _Encoded, completion: _Encoded) -> RenderedConversation:
    """Join prompt and completion; a token is trained if it begins inside a trained span."""
    starts_T = np.concatenate([prompt.starts_T, completion.starts_T + len(text.prompt)])
    is_trained_T = np.zeros(len(starts_T), np.bool_)
    for start, stop in text.spans:
        is_trained_T |= (starts_T >= start) & (starts_T < stop)
    return RenderedConversation(
        token_ids=np.concatenate([prompt.token_ids, completion.token_ids]),
        weights_T=is_trained_T.astype(np.float32),
        prompt_length=len(prompt.token_ids),
    )
