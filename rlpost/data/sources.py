"""`open_examples` opens one data set of a recipe from any source; `require_columns` checks that a stage can use it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rlpost.data.columns import ColumnRules
from rlpost.data.examples import ExampleTable, Solution
from rlpost.data.messages import read_arguments
from rlpost.data.prompt_wording import placeholders
from rlpost.data.source_reasoning_gym import generated_rows
from rlpost.data.tables import Table
from rlpost.data.tables.arrow_rows import csv_table, parquet_table
from rlpost.data.tables.cache import DataCache
from rlpost.data.tables.generated import GeneratedTable
from rlpost.data.tables.hugging_face import hugging_face_table
from rlpost.data.tables.unpacking import json_array_table, json_lines_table
from rlpost.errors import DataError
from rlpost.recipe.columns import JUDGEMENTS
from rlpost.recipe.sections import DataConfig
from rlpost.records import Example

Use = Literal["cpt", "sft", "pairs", "labelled", "rewarded", "prompts", "prompts_with_gold"]
"""The use of a stage's rows; the model answers `prompts`, which have a gold if a verifier compares with it."""

NEEDS: dict[Use, tuple[tuple[str, ...], ...]] = {
    "cpt": (("text",), ("messages", "response")),
    "sft": (("messages", "response"),),
    "pairs": (("messages", "response", "rejected"),),
    "labelled": (("messages", "response", "label"),),
    "rewarded": (("messages", "response", "reward", "reference_rewards"),),
    "prompts": (("messages",),),
    "prompts_with_gold": (("messages", "gold"),),
}
"""Use -> sets of fields; a row needs all fields of one of the sets."""


def open_examples(name: str, config: DataConfig, *, cache: DataCache) -> ExampleTable:
    """Open the data set `name`; the order and ids of its examples depend only on the config and the data.

    Rows of files are shuffled by `config.seed` and cut to `config.rows`; ids count the rows of the file,
    `<name>/<row>`. A row is read when it is asked for.

    Raises:
        DataError: the source is missing, empty or too short, the config contradicts it, or the solution function cannot
            be used. The message names the data set.
    """
    kind, _, place = config.source.partition(":")
    table = _table(name, config, kind=kind, place=place, cache=cache)
    generated = kind == "reasoning_gym"
    return ExampleTable(
        name,
        table=table,
        numbers=np.arange(len(table)) if generated else _chosen(name, config, row_count=len(table)),
        rules=_column_rules(config, kind=kind),
        template_arguments=dict(_template_arguments(name, config)),
        instruction=config.instruction,
        system=config.system,
        solution=None if config.solution is None else Solution(config.solution, load_solution(config.solution)),
    )


def require_columns(examples: Sequence[Example], *, stage: str, use: Use) -> None:
    """Check that every example has the fields that the stage needs.

    Raises:
        DataError: names the stage, the first row that lacks a field, the field, and the setting to change.
    """
    for example in examples:
        lacking = [[field for field in fields if not _has(example, field)] for fields in NEEDS[use]]
        if all(lacking):
            wanted = " or ".join(" and ".join(fields) for fields in NEEDS[use])
            missing = min(lacking, key=len)
            raise DataError(
                f"stage {stage} ({use}) needs {wanted} in every row; row {example.id} lacks {' and '.join(missing)}: "
                f"set data.{example.dataset}.columns to the columns that hold them"
                + (f", or data.{example.dataset}.solution" if "response" in missing else "")
            )


def _has(example: Example, field: str) -> bool:
    value = example.meta.get(field) if field in JUDGEMENTS else getattr(example, field)
    return value is not None and value != ()


def _table(name: str, config: DataConfig, *, kind: str, place: str, cache: DataCache) -> Table:
    if kind == "reasoning_gym":
        return _generated(name, config, task=place)
    if kind == "hf":
        return hugging_face_table(place, split=config.split, params=config.params, rows=config.rows, cache=cache)
    if config.params:
        raise DataError(f"data.{name}.params has no meaning for {config.source}: remove it")
    return _FILE_TABLES[kind](Path(place), cache=cache)


_FILE_TABLES: Mapping[str, Callable[..., Table]] = {
    "jsonl": json_lines_table,
    "json": json_array_table,
    "parquet": parquet_table,
    "csv": partial(csv_table, separator=","),
    "tsv": partial(csv_table, separator="\t"),
}


def _generated(name: str, config: DataConfig, *, task: str) -> GeneratedTable:
    assert config.rows is not None, "the recipe requires rows for generated sources"
    if config.columns:
        raise DataError(f"data.{name}.columns has no meaning for generated rows: remove it")
    rows = generated_rows(name, task=task, rows=config.rows, seed=config.seed, params=config.params)
    return GeneratedTable(rows, shown=config.source, identity=config.source)


def _chosen(name: str, config: DataConfig, *, row_count: int) -> NDArray[np.int64]:
    """Return the numbers of the rows to use, in order."""
    wanted = row_count if config.rows is None else config.rows
    if row_count == 0 or wanted > row_count:
        raise DataError(
            f"data.{name} needs {wanted or 'at least 1'} rows; {config.source} has {row_count}: "
            f"lower data.{name}.rows or give another source"
        )
    return np.random.default_rng(config.seed).permutation(row_count)[:wanted]


def _column_rules(config: DataConfig, *, kind: str) -> ColumnRules:
    rendered = placeholders(config.instruction) if config.instruction is not None else frozenset[str]()
    replaced = {"system", "system_prompt"} if config.system is not None else set[str]()
    return ColumnRules(
        columns={**config.columns},
        not_rendered=frozenset(config.not_rendered),
        rendered_otherwise=rendered | replaced,
        null_is_absent=kind in ("parquet", "csv", "tsv", "hf"),
    )


def _template_arguments(name: str, config: DataConfig) -> Mapping[str, Any]:
    try:
        return read_arguments(config.template_arguments)
    except DataError as error:
        raise DataError(f"data.{name}.template_arguments: {error}") from error


def load_solution(reference: str) -> Callable[[Example], object]:
    """Import the function `module:name` that a data set's `solution` names.

    Raises:
        DataError: the function cannot be imported.
    """
    module_name, _, function_name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # A module may raise any error while it is imported.
        raise DataError(
            f"a data set's solution must be module:function of an importable function; found {reference!r}: {error}"
        ) from error
