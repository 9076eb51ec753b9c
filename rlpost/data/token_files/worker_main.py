"""The process that renders chunks; see `workers`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlpost.data.chat import ChatFormat, model_stop_ids
from rlpost.data.examples import ExampleTable
from rlpost.data.sources import Use, open_examples, require_columns
from rlpost.data.tables.cache import DataCache
from rlpost.data.token_files.chunk import Shape, chunk_of
from rlpost.data.tokenizer import load_tokenizer
from rlpost.data.trained_spans import TrainOn
from rlpost.errors import DataError, ModelError
from rlpost.recipe.sections import DataConfig


class Opened(NamedTuple):
    """The source and the tokenizer that a worker opens, and the use of the rows."""

    name: str
    """The data set."""
    config: dict[str, Any]
    """Its section of the recipe, as plain data."""
    cache: str
    """The folder of the cache."""
    model_dir: str
    """The folder with tokenizer and chat template."""
    trust_remote_code: bool
    shape: Shape
    train_on: TrainOn
    stage: str
    """The stage that asks first, for error messages."""
    use: Use


def main() -> None:
    """Render chunks until the input ends."""
    # What a template or a solution prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    opened = Opened(**json.loads(sys.stdin.readline()))
    examples: ExampleTable | None = None
    chat: ChatFormat | None = None
    for line in sys.stdin:
        start, stop, path = json.loads(line)
        try:
            if examples is None or chat is None:
                examples, chat = _open(opened)
            chosen = examples.read(range(start, stop))
            require_columns(chosen, stage=opened.stage, use=opened.use)
            chunk = chunk_of(chosen, chat=chat, shape=opened.shape, train_on=opened.train_on)
            np.savez(path, allow_pickle=False, **chunk._asdict())
            answer = {"error": "", "kind": ""}
        except (DataError, ModelError) as error:
            answer = {"error": str(error), "kind": type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _open(opened: Opened) -> tuple[ExampleTable, ChatFormat]:
    config = DataConfig.model_validate(opened.config)
    examples = open_examples(opened.name, config, cache=DataCache(Path(opened.cache)))
    tokenizer = load_tokenizer(opened.model_dir, trust_remote_code=opened.trust_remote_code)
    return examples, ChatFormat(tokenizer, model_stops=model_stop_ids(Path(opened.model_dir)))


if __name__ == "__main__":
    main()
