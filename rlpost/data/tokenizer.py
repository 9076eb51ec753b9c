"""Builds a small byte-level BPE tokenizer from the recipe's own text, and loads existing ones."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rlpost.errors import DataError, ModelError
from rlpost.records import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

PAD, EOS, USER, ASSISTANT, SYSTEM = "<|pad|>", "<|eos|>", "<|user|>", "<|assistant|>", "<|system|>"
SPECIAL_TOKENS = (PAD, EOS, USER, ASSISTANT, SYSTEM)
"""Special tokens of the tokenizers built here, with ids 0 to 4."""
SMALLEST_VOCABULARY = 256 + len(SPECIAL_TOKENS)
"""Number of entries for all bytes and the special tokens, without any merge."""
LONGEST_TRAINED_WORD = 1_000
"""Longest word in characters: the trainer's time grows with the square of a word's length, and 10 MB would take
hours."""
_PIECE = re.compile(rf"(?s:.){{1,{LONGEST_TRAINED_WORD}}}(?:(?<=\S)(?=\s)|\Z)|(?s:.){{1,{LONGEST_TRAINED_WORD}}}")
"""The whole of a short text; else a piece up to the end of a word, where the pre-tokenizer cuts too, or within a longer
word."""


def tokenizer_texts(examples: Iterable[Example]) -> Iterator[str]:
    """Yield every text of the examples that reaches a model, without template markers."""
    for example in examples:
        for message in (*example.messages, *example.completion, *example.rejected):
            yield from (text for text in (message.reasoning_content, message.content) if text is not None)
            yield from (json.dumps(call, ensure_ascii=False) for call in message.tool_calls)
        yield from (json.dumps(tool, ensure_ascii=False) for tool in example.tools)
        if example.text is not None:
            yield example.text


def train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> PreTrainedTokenizerFast:
    """Train byte-level BPE with each digit as its own token, so that numbers align by column; deterministic in its
    texts.

    A word longer than `LONGEST_TRAINED_WORD` is split for training, and a small number of texts may fill fewer than
    `vocab_size` entries. The tokenizer has no chat template yet: set `chat_template` before use.

    Raises:
        DataError: `vocab_size` has no room for the bytes and the special tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if vocab_size < SMALLEST_VOCABULARY:
        raise DataError(
            f"model.tokenizer.vocab_size must be at least {SMALLEST_VOCABULARY} (256 bytes and "
            f"{len(SPECIAL_TOKENS)} special tokens); found {vocab_size}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((piece for text in texts for piece in _PIECE.findall(text)), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        extra_special_tokens=[USER, ASSISTANT, SYSTEM],
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer(path: str, *, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model directory or hub name.

    Raises:
        ModelError: there is none, or it has no end-of-sequence token.
    """
    import transformers

    # transformers leaves tokenizers untyped.
    auto: Any = transformers.AutoTokenizer
    try:
        tokenizer: Any = auto.from_pretrained(path, trust_remote_code=trust_remote_code)
    except BaseException as error:  # A broken file raises many kinds of errors there.
        if not _is_failure(error):
            raise
        raise ModelError(f"{path} must hold a tokenizer: set model.path or model.tokenizer; found: {error}") from error
    if tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer of {path} must have an end-of-sequence token: set eos_token in its config")
    return tokenizer


@contextmanager
def encoding_errors() -> Generator[None]:
    """Turn the failures of a tokenizer on a text into a `ModelError`."""
    try:
        yield
    except BaseException as error:
        if not _is_failure(error):
            raise
        raise ModelError(
            f"the tokenizer must encode every text of the data; on one it failed: {error}. Give another tokenizer, or "
            "take the row out"
        ) from error


def _is_failure(error: BaseException) -> bool:
    """Whether an error is one of the library: a panic of its Rust code is no `Exception`, and cannot be imported."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"
