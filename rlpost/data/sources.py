"""`load_examples` reads one data set of a recipe from any source; `require_columns` checks that a stage can use it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rlpost.data.columns import ColumnRules, example_of
from rlpost.data.messages import read_arguments
from rlpost.data.prompt_wording import placeholders, reword
from rlpost.data.source_files import NumberedRow, read_hugging_face, read_jsonl, read_parquet
from rlpost.data.source_reasoning_gym import generate_examples
from rlpost.errors import DataError, RlpostError
from rlpost.recipe.sections import DataConfig
from rlpost.records import Example, assistant_turn

Use = Literal["cpt", "sft", "pairs", "prompts", "prompts_with_gold"]
"""The use of a stage's rows; the model answers `prompts`, which have a gold if a verifier compares with it."""

NEEDS: dict[Use, tuple[tuple[str, ...], ...]] = {
    "cpt": (("text",), ("messages", "response")),
    "sft": (("messages", "response"),),
    "pairs": (("messages", "response", "rejected"),),
    "prompts": (("messages",),),
    "prompts_with_gold": (("messages", "gold"),),
}
"""Use -> sets of fields; a row needs all fields of one of the sets."""


def load_examples(name: str, config: DataConfig) -> list[Example]:
    """Return all examples of the data set `name`; their order and ids depend only on the config and the data.

    Files are shuffled by `config.seed` and cut to `config.rows`; ids count the rows of the file, `<name>/<row>`.

    Raises:
        DataError: the source is missing, empty, too short or broken, a row lacks something that the config needs, or
            the solution function cannot be used. The message names the data set and the row.
    """
    kind, _, place = config.source.partition(":")
    if kind == "reasoning_gym":
        examples = _generated(name, config, task=place)
    else:
        rows = _file_rows(name, config, kind=kind, place=place)
        rules = _column_rules(config, kind=kind)
        examples = [example_of(row, dataset=name, rules=rules) for row in rows]
    arguments = _template_arguments(name, config)
    examples = [replace(row, template_arguments={**arguments, **row.template_arguments}) for row in examples]
    examples = [reword(example, instruction=config.instruction, system=config.system) for example in examples]
    return examples if config.solution is None else _solved(examples, config.solution, name=name)


def require_columns(examples: Sequence[Example], *, stage: str, use: Use) -> None:
    """Check that every example has the fields that the stage needs.

    Raises:
        DataError: names the stage, the first row that lacks a field, the field, and the setting to change.
    """
    if not examples:
        raise DataError(f"stage {stage} needs rows; its data sets have none left: raise rows, or name more data")
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
    value = getattr(example, field)
    return value is not None and value != ()


def _generated(name: str, config: DataConfig, *, task: str) -> list[Example]:
    assert config.rows is not None, "the recipe requires rows for generated sources"
    if config.columns:
        raise DataError(f"data.{name}.columns has no meaning for generated rows: remove it")
    return generate_examples(name, task=task, rows=config.rows, seed=config.seed, params=config.params)


def _column_rules(config: DataConfig, *, kind: str) -> ColumnRules:
    rendered = placeholders(config.instruction) if config.instruction is not None else frozenset[str]()
    replaced = {"system", "system_prompt"} if config.system is not None else set[str]()
    return ColumnRules(
        columns={**config.columns},
        not_rendered=frozenset(config.not_rendered),
        rendered_otherwise=rendered | replaced,
        null_is_absent=kind in ("parquet", "hf"),
    )


def _template_arguments(name: str, config: DataConfig) -> Mapping[str, Any]:
    try:
        return read_arguments(config.template_arguments)
    except DataError as error:
        raise DataError(f"data.{name}.template_arguments: {error}") from error


def _file_rows(name: str, config: DataConfig, *, kind: str, place: str) -> list[NumberedRow]:
    def choose(row_count: int) -> list[int]:
        wanted = row_count if config.rows is None else config.rows
        if row_count == 0 or wanted > row_count:
            raise DataError(
                f"data.{name} needs {wanted or 'at least 1'} rows; {config.source} has {row_count}: "
                f"lower data.{name}.rows or give another source"
            )
        return np.random.default_rng(config.seed).permutation(row_count)[:wanted].tolist()

    if kind == "hf":
        return read_hugging_face(place, split=config.split, params=config.params, choose=choose)
    if config.params:
        raise DataError(f"data.{name}.params has no meaning for {config.source}: remove it")
    return {"jsonl": read_jsonl, "parquet": read_parquet}[kind](Path(place), choose=choose)


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


def _response(solution: Callable[[Example], object], example: Example, *, reference: str, name: str) -> object:
    try:
        return solution(example)
    except RlpostError:
        raise
    except Exception as error:  # This is the recipe's own code, which may raise any error.
        raise DataError(
            f"data.{name}.solution must return text; {reference} raised {type(error).__name__} for row {example.id}: "
            f"{error}"
        ) from error


def _solved(examples: Sequence[Example], reference: str, *, name: str) -> list[Example]:
    """Fill the response of every example by the function `module:name`."""
    solution = load_solution(reference)
    solved: list[Example] = []
    for example in examples:
        response = _response(solution, example, reference=reference, name=name)
        if not isinstance(response, str):
            raise DataError(
                f"data.{name}.solution must return text; {reference} returned a {type(response).__name__} "
                f"for row {example.id}"
            )
        solved.append(replace(example, completion=assistant_turn(response)))
    return solved
