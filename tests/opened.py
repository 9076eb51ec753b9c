"""Opens data sets, and tokenises examples, in a cache that lives as long as the tests."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from rlpost.data.chat import ChatFormat
from rlpost.data.sources import open_examples
from rlpost.data.tables.cache import DataCache
from rlpost.data.token_files.chunk import Shape, chunk_of
from rlpost.data.token_files.token_file import TokenFile, write_token_file
from rlpost.data.tokenized import TokenizedSet
from rlpost.data.trained_spans import TrainOn
from rlpost.recipe.sections import DataConfig
from rlpost.records import Example


@cache
def folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def data_cache() -> DataCache:
    return DataCache(Path(folder().name) / "cache")


def load_examples(name: str, config: DataConfig) -> list[Example]:
    return list(open_examples(name, config, cache=data_cache()))


def tokenized(
    examples: Sequence[Example], *, chat: ChatFormat, shape: Shape, train_on: TrainOn = "completion"
) -> list[TokenizedSet]:
    """One data set of these examples, numbered by their ids."""
    place = Path(tempfile.mkdtemp(dir=folder().name))
    write_token_file(place, [chunk_of(examples, chat=chat, shape=shape, train_on=train_on)])
    numbers = np.array([int(example.id.rpartition("/")[2]) for example in examples], np.int64)
    places = np.arange(len(examples))
    return [TokenizedSet(examples[0].dataset, list(examples), numbers, TokenFile(place), places)]
