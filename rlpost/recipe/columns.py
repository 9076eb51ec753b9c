"""Checks, by its first rows, whether a data set has the columns that a stage needs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from rlpost.errors import RecipeError
from rlpost.recipe.row_shapes import GIVES, HOLDS_MESSAGES, shapes_of
from rlpost.recipe.sections import PACKED, DataConfig

Use = Literal["cpt", "sft", "pairs", "labelled", "rewarded", "judging"]
"""The use of a data set. `pairs`: to learn given preferences; `labelled` and `rewarded`: to learn from answers with a
label or with rewards; `judging`: to have answers to its prompts judged."""

USUAL_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt",),
    "messages": ("messages",),
    "response": ("response", "completion", "chosen"),
    "rejected": ("rejected",),
    "gold": ("gold",),
    "text": ("text",),
    "tools": ("tools",),
    "template_arguments": ("chat_template_kwargs",),
    "label": ("label",),
    "reward": ("reward",),
    "reference_rewards": ("reference_rewards",),
}
"""Role -> columns that are used for it if the recipe names none."""
JUDGEMENTS = ("label", "reward", "reference_rewards")
"""Roles that say how good an answer is; verifiers read their columns as well."""

_LINES_READ = 1000


class Missing(NamedTuple):
    """A role that the use needs and no column fills."""

    role: str
    found: tuple[str, ...]
    """The existing columns."""
    named: tuple[str, str] | None
    """(role, column) of the recipe's `columns`, if that column is the missing one."""
    line: int | None
    """The line of the row, counted from 1; None for the first row, and where all rows have the same columns."""


def missing_role(config: DataConfig, *, use: Use, verifier_reads: Collection[str]) -> Missing | None:
    """Return the first role that the use needs and a row lacks; None if there is none, or if it cannot be known yet.

    `verifier_reads` are the roles and columns that the verifier of this data set needs. A column without a value (null)
    is absent. Of a file of JSON lines the first 1,000 are read.

    Raises:
        RecipeError: one of the first rows of the file cannot be read.
    """
    for line, columns in _rows(config):
        roles = _roles(config, columns=columns)
        for alternatives in _needed(use, roles=roles, verifier_reads=verifier_reads):
            if not any(role in roles or (role not in USUAL_COLUMNS and role in columns) for role in alternatives):
                written = {str(role): column for role, column in config.columns.items()}
                named = next(((role, written[role]) for role in alternatives if role in written), None)
                return Missing(role=" or ".join(alternatives), found=tuple(columns), named=named, line=line)
    return None


def _needed(use: Use, *, roles: Mapping[str, bool], verifier_reads: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Yield alternatives: for each entry, at least one of its roles must exist."""
    match use:
        case "cpt":
            yield ("text", "response", "messages")
        case "sft":
            yield ("prompt", "messages")
            yield ("response", "messages")
        case "pairs":
            yield ("response",)
            yield ("rejected",)
            # A whole conversation contains its prompt.
            if not roles["response"]:
                yield ("prompt", "messages")
        case "labelled" | "rewarded":
            yield ("prompt", "messages")
            yield ("response", "messages")
            yield from ((role,) for role in (JUDGEMENTS[:1] if use == "labelled" else JUDGEMENTS[1:]))
        case "judging":
            yield ("prompt", "messages")
            yield from ((role,) for role in verifier_reads)


def _roles(config: DataConfig, *, columns: Mapping[str, bool]) -> dict[str, bool]:
    """Return the roles that the columns fill, and whether each holds messages."""
    shapes = shapes_of(columns, named=config.columns)[:1]
    roles = {role: shape in HOLDS_MESSAGES for shape in shapes for role in GIVES[shape]}
    named_columns: dict[str, str] = {str(role): column for role, column in config.columns.items()}
    for role, usual in USUAL_COLUMNS.items():
        candidates = (named_columns[role],) if role in named_columns else usual
        # A path such as `reward_model.ground_truth` begins with a column.
        present = [column for column in candidates if column in columns or column.partition(".")[0] in columns]
        if present:
            roles[role] = columns.get(present[0], False)
    if config.solution is not None:
        roles["response"] = False
    return roles


def _rows(config: DataConfig) -> Iterator[tuple[int | None, dict[str, bool]]]:
    """Yield the line and the columns of the first rows, and whether each column holds a list; nothing if that needs
    loading.
    """
    kind, _, rest = config.source.partition(":")
    match kind:
        case "reasoning_gym":
            yield None, {"prompt": False, "gold": False, "reasoning_gym": False}
        case "jsonl" if not rest.endswith(PACKED):
            yield from _jsonl_rows(Path(rest))
        case "parquet":
            yield None, _parquet_columns(Path(rest))
        case _:
            pass


def _jsonl_rows(path: Path) -> Iterator[tuple[int | None, dict[str, bool]]]:
    if not path.is_file():
        raise RecipeError(f"{path} must be a file")
    found = False
    with path.open("rb") as lines:
        for number, line in enumerate(islice(lines, _LINES_READ), start=1):
            if not line.strip():
                continue
            try:
                row: Any = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise RecipeError(f"{path}:{number}: a line must be one JSON object: {error}") from error
            if not isinstance(row, dict):
                raise RecipeError(f"{path}:{number}: a line must be one JSON object, found a {type(row).__name__}")
            values = cast("dict[str, Any]", row).items()
            columns = {column: isinstance(value, list) for column, value in values if value is not None}
            yield number if found else None, columns
            found = True
    if not found:
        raise RecipeError(f"{path} has no rows")


def _parquet_columns(path: Path) -> dict[str, bool]:
    try:
        from pyarrow import ArrowException, parquet, types
    except ImportError as error:
        raise RecipeError(f"{path}: parquet files need pyarrow: pip install 'rlpost[run]'") from error
    file = min(path.glob("*.parquet"), default=path) if path.is_dir() else path
    if not file.is_file():
        raise RecipeError(f"{file} must be a Parquet file, or a directory of *.parquet files")
    try:
        schema = parquet.read_schema(file)
    except (ArrowException, OSError, ValueError) as error:  # The name of a column may not be valid UTF-8.
        raise RecipeError(f"{file} must be a Parquet file: {error}") from error
    return {str(field.name): bool(types.is_list(field.type) or types.is_large_list(field.type)) for field in schema}
