"""Makes the token file of a data set, in several processes where that pays, or finds it in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlpost.data.chat import ChatFormat
from rlpost.data.examples import ExampleTable
from rlpost.data.tables.cache import DataCache
from rlpost.data.token_files.chunk import SEQUENCES, Chunk, Shape, chunk_of
from rlpost.data.token_files.token_file import TokenFile, write_token_file
from rlpost.data.token_files.workers import ChunkWorkers
from rlpost.data.trained_spans import TrainOn
from rlpost.records import Example

TOKENS_VERSION = 2
"""Raise it when the tokens of a row, or the stored form of a token file, change."""
_ROWS_PER_CHUNK = 2000
_ROWS_WORTH_PROCESSES = 20_000
"""Fewer rows take less time than the start of another process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSettings:
    """Everything besides the rows that decides the content of a token file."""

    shape: Shape
    train_on: TrainOn
    chat_identity: Mapping[str, Any]
    """Hashes of tokenizer and chat template, and the stop tokens, as plain data."""
    check: Callable[[Sequence[Example]], None]
    """Raises DataError if an example lacks what its use needs."""


def token_file(
    examples: ExampleTable,
    *,
    examples_identity: Mapping[str, Any],
    settings: TokenSettings,
    chat: ChatFormat,
    cache: DataCache,
    workers: Callable[[], ChunkWorkers],
    on_progress: Callable[[int], None],
) -> TokenFile:
    """Return the token file of a data set: `SEQUENCES[shape]` sequences for each of its rows, in order.

    Args:
        examples: The rows.
        examples_identity: Everything that decides the rows, as plain data.
        settings: See `TokenSettings`.
        chat: Renders rows where no processes are needed.
        cache: Keeps the file.
        workers: Starts the processes that render many rows.
        on_progress: Called with the number of rows that are done.

    Raises:
        DataError: a row cannot be trained, or the cache cannot be written.
        ModelError: the chat template cannot show a row as it must be trained.
    """

    def chunks() -> Iterator[Chunk]:
        spans = [
            range(start, min(start + _ROWS_PER_CHUNK, len(examples)))
            for start in range(0, len(examples), _ROWS_PER_CHUNK)
        ]
        if len(examples) < _ROWS_WORTH_PROCESSES:
            for span in spans:
                chosen = examples.read(span)
                settings.check(chosen)
                yield chunk_of(chosen, chat=chat, shape=settings.shape, train_on=settings.train_on)
                on_progress(span.stop)
            return
        with workers() as started:
            for span, chunk in zip(spans, started.chunks(spans), strict=True):
                yield chunk
                on_progress(span.stop)

    made_from = {
        "version": TOKENS_VERSION,
        "examples": examples_identity,
        # The source as it was opened: a data set of a hub may have changed under its name.
        "table": examples.table.identity,
        "shape": settings.shape,
        "train_on": settings.train_on,
        "chat": settings.chat_identity,
    }

    def make(directory: Path) -> None:
        write_token_file(directory, chunks())

    found = TokenFile(cache.entry("tokens", made_from, make=make))
    assert len(found) == SEQUENCES[settings.shape] * len(examples), "a key stands for one content"
    return found
