"""What is wrong with data or model is told before anything starts, and leaves nothing half made behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeParts
from small_run import pipeline_of, recipe_document, sums, write_rows

from rlpost.errors import DataError, ModelError, RlpostError
from rlpost.pipeline.artifacts import read_manifest
from rlpost.pipeline.selection import Selection

LONG = "a long question " * 10
NO_END = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
Document = dict[str, Any]


def rows(*extra: dict[str, Any]) -> Callable[[Document, Path], None]:
    return lambda document, folder: (write_rows(folder / "sums.jsonl", [*sums(6), *extra]), None)[1]


def long_held_out(document: Document, folder: Path) -> None:
    write_rows(folder / "held_out.jsonl", [{"prompt": LONG, "gold": "1"}])


def only_held_out(document: Document, folder: Path) -> None:
    write_rows(folder / "held_out.jsonl", sums(20))


def empty(document: Document, folder: Path) -> None:
    # The tokenizer reads other rows, so that the stage's data set is the one that is missed.
    document["data"]["none"] = {"source": f"jsonl:{write_rows(folder / 'none.jsonl', [])}"}
    document["stages"][0]["data"] = ["none"]


def empty_source(document: Document, folder: Path) -> None:
    """All rows of a mixture's second data set are held out."""
    document["data"]["more"] = {"source": f"jsonl:{write_rows(folder / 'more.jsonl', sums(2, first=50))}"}
    document["stages"][0] |= {
        "data": ["sums", "more"],
        "sampler": {"kind": "mixture", "mix": {"sums": 1, "more": [[0, 0], [9, 1]]}},
    }


def template_without_end(document: Document, folder: Path) -> None:
    (folder / "chat.jinja").write_text(NO_END)
    document["model"]["chat_template"] = str(folder / "chat.jinja")


def only_supervised(document: Document, folder: Path) -> None:
    document["stages"], document["evaluate"] = document["stages"][:1], None
    write_rows(folder / "sums.jsonl", [*sums(6), {"prompt": LONG, "response": "1"}])


CASES: dict[str, tuple[Callable[[Document, Path], None], type[RlpostError], str]] = {
    "prompt too long for RL": (
        rows({"prompt": LONG, "response": "1", "gold": "1"}),
        DataError,
        r"must fit in max_length = 48; the prompt of row sums/6 has \d+ tokens: raise max_length",
    ),
    "prompt too long for SFT": (
        only_supervised,
        DataError,
        r"must fit in max_length = 48; the prompt of row sums/6",
    ),
    "held-out prompt too long": (long_held_out, DataError, r"the prompt of row held_out/0 has"),
    "empty data set": (empty, DataError, r"data.none needs at least 1 rows; jsonl:.*none.jsonl has 0"),
    "nothing left behind the held-out rows": (only_held_out, DataError, r"stage sft needs rows"),
    "a mixture of which a source is empty": (
        empty_source,
        DataError,
        r"every data set of sampler.mix must have rows; more has none that can be used",
    ),
    "a row without a response": (
        rows({"prompt": "7 + 7 =", "gold": "14"}),
        DataError,
        r"stage sft \(sft\) needs messages and response in every row; row sums/6 lacks response: set data.sums",
    ),
    "a row without gold": (
        rows({"prompt": "7 + 7 =", "response": "14"}),
        DataError,
        r"stage dpo .* row sums/6 lacks gold: set data.sums.columns",
    ),
    "template without an end": (template_without_end, ModelError, r"must end an answer with a special token"),
}


@pytest.mark.parametrize("name", CASES)
def test_is_refused_before_anything_starts_and_the_corrected_recipe_runs_in_the_same_folder(
    tmp_path: Path, name: str
) -> None:
    document, parts = recipe_document(tmp_path), FakeParts()
    spoil, error, words = CASES[name]
    spoil(document, tmp_path)
    with pytest.raises(error, match=words) as raised:
        pipeline_of(document, parts)
    assert raised.value.exit_code == 2
    assert (parts.prepared, parts.settings) == ([], [])
    assert_holds_nothing_half_written(Path(document["output"]))
    corrected = recipe_document(tmp_path)
    pipeline = pipeline_of(corrected, parts)
    pipeline.execute(Selection.of(pipeline.recipe, first=None, last="sft"))
    assert sorted(path.name for path in (tmp_path / "run" / "stages").iterdir()) == ["00-base", "01-sft"]


def test_the_base_is_made_once_and_again_when_its_inputs_change(tmp_path: Path) -> None:
    document = recipe_document(tmp_path)
    first = pipeline_of(document, FakeParts()).base
    assert pipeline_of(document, FakeParts()).base == first
    document["seed"] = 1
    assert pipeline_of(document, FakeParts()).base.model_hash != first.model_hash


def assert_holds_nothing_half_written(run: Path) -> None:
    """Under `stages` there is at most a whole base artifact; a folder in work has no final name."""
    for folder in (run / "stages").iterdir():
        if not folder.name.endswith(".partial"):
            assert folder.name == "00-base"
            assert read_manifest(folder) is not None


def test_the_shape_of_rows_is_said_and_a_wrong_row_is_named_by_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = recipe_document(tmp_path)
    rows = [{"instruction": f"{n} + 1 =", "input": "", "output": str(n + 1), "gold": str(n + 1)} for n in range(12)]
    write_rows(tmp_path / "sums.jsonl", rows)
    pipeline_of(document, FakeParts())
    assert "sums: rows are read as `instruction`, `input` and `output`, as Alpaca has them" in capsys.readouterr().out
    write_rows(tmp_path / "sums.jsonl", [*rows, {"instruction": "x", "input": "", "output": "1", "images": ["a.png"]}])
    with pytest.raises(DataError, match=r"sums\.jsonl:13: data\.sums, row 12 .*the column images"):
        pipeline_of({**document, "output": str(tmp_path / "other")}, FakeParts())
