"""Token files: what was rendered in one process is what several render, and what the next run finds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import byte_tokenizer

from rlpost.data.chat import ChatFormat
from rlpost.data.examples import ExampleTable
from rlpost.data.sources import open_examples, require_columns
from rlpost.data.tables.cache import DataCache
from rlpost.data.token_files import build
from rlpost.data.token_files.build import TokenSettings, token_file
from rlpost.data.token_files.token_file import TokenFile
from rlpost.data.token_files.workers import ChunkWorkers
from rlpost.errors import DataError
from rlpost.recipe.sections import DataConfig
from rlpost.records import Example

ROWS = 40


@pytest.fixture
def source(tmp_path: Path) -> DataConfig:
    rows = [
        {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a" * (n % 7 + 1)}]}
        for n in range(ROWS)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return DataConfig(source=f"jsonl:{tmp_path / 'rows.jsonl'}")


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    ChatFormat(byte_tokenizer()).save(tmp_path / "model")
    return tmp_path / "model"


def needs_sft(examples: Sequence[Example]) -> None:
    require_columns(examples, stage="sft", use="sft")


def made(
    folder: Path, config: DataConfig, *, workers: ChunkWorkers | None = None, chat: dict[str, Any] | None = None
) -> tuple[TokenFile, ExampleTable, list[int]]:
    """The token file, its rows, and the progress that was shown."""
    cache, shown = DataCache(folder / "cache"), list[int]()
    examples = open_examples("set", config, cache=cache)

    def start() -> ChunkWorkers:
        assert workers is not None, "few rows need no processes"
        return workers

    file = token_file(
        examples,
        examples_identity=config.model_dump(mode="json"),
        settings=TokenSettings(shape="conversation", train_on="all", chat_identity=chat or {}, check=needs_sft),
        chat=ChatFormat(byte_tokenizer()),
        cache=cache,
        workers=start,
        on_progress=shown.append,
    )
    return file, examples, shown


def workers_for(folder: Path, config: DataConfig, model_dir: Path) -> ChunkWorkers:
    opens = {
        "name": "set",
        "config": config.model_dump(mode="json"),
        "cache": str(folder / "cache"),
        "model_dir": str(model_dir),
        "trust_remote_code": False,
        "shape": "conversation",
        "train_on": "all",
        "stage": "sft",
        "use": "sft",
    }
    return ChunkWorkers(opens, count=2)


def sequences(file: TokenFile) -> list[tuple[list[int], list[float], int]]:
    found = [file.sequence(number) for number in range(len(file))]
    return [(one.token_ids.tolist(), one.weights_T.tolist(), one.prompt_length) for one in found]


def test_a_stored_row_is_what_the_template_renders(tmp_path: Path, source: DataConfig) -> None:
    file, examples, _ = made(tmp_path, source)
    chat = ChatFormat(byte_tokenizer())
    for place in (0, 5, ROWS - 1):
        (rendered,) = chat.render_conversations([examples[place]], train_on="all")
        stored = file.sequence(place)
        np.testing.assert_array_equal(stored.token_ids, rendered.token_ids)
        np.testing.assert_array_equal(stored.weights_T, rendered.weights_T)
        assert stored.prompt_length == rendered.prompt_length


def test_several_processes_write_what_one_writes(
    tmp_path: Path, source: DataConfig, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, _, _ = made(tmp_path, source)
    monkeypatch.setattr(build, "_ROWS_WORTH_PROCESSES", 1)
    monkeypatch.setattr(build, "_ROWS_PER_CHUNK", 7)
    together, _, shown = made(tmp_path / "other", source, workers=workers_for(tmp_path, source, model_dir))
    assert sequences(together) == sequences(alone)
    np.testing.assert_array_equal(together.questions, alone.questions)
    assert shown == [7, 14, 21, 28, 35, 40]


def test_what_was_made_is_found_again_and_another_chat_template_is_made_anew(
    tmp_path: Path, source: DataConfig
) -> None:
    assert made(tmp_path, source)[2] == [ROWS]
    assert made(tmp_path, source)[2] == []
    assert made(tmp_path, source, chat={"template": "other"})[2] == [ROWS]


def test_a_source_that_changed_under_its_name_is_tokenised_anew(tmp_path: Path, source: DataConfig) -> None:
    """The name of a data set on a hub stays when its rows change."""
    before, _, _ = made(tmp_path, source)
    path = Path(source.source.removeprefix("jsonl:"))
    path.write_text(path.read_text().replace("q0", "Q0"))
    after, _, shown = made(tmp_path, source)
    assert shown == [ROWS]
    assert sequences(after) != sequences(before)


def test_a_row_that_cannot_be_trained_leaves_nothing_behind(tmp_path: Path, source: DataConfig) -> None:
    path = Path(source.source.removeprefix("jsonl:"))
    path.write_text(path.read_text() + '\n{"messages": [{"role": "user", "content": "only a question"}]}\n')
    with pytest.raises(DataError, match=r"stage sft \(sft\) needs messages and response.*row set/40 lacks response"):
        made(tmp_path, source)
    kinds = [entry.name.partition("-")[0] for entry in (tmp_path / "cache").iterdir()]
    assert kinds == ["lines"]


def test_the_error_of_a_process_is_the_error_of_the_run(
    tmp_path: Path, source: DataConfig, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(source.source.removeprefix("jsonl:"))
    path.write_text(path.read_text() + "\n{broken\n")
    monkeypatch.setattr(build, "_ROWS_WORTH_PROCESSES", 1)
    with pytest.raises(DataError, match=r"rows.jsonl:41: a line must be one JSON object"):
        made(tmp_path, source, workers=workers_for(tmp_path, source, model_dir))
