"""Reads the instructions that a gold names, and registers all known instructions."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import NamedTuple, cast

from rewards.ifeval_bench_format import FORMAT
from rewards.ifeval_bench_tasks import TASKS
from rewards.ifeval_bench_words import WORDS
from rewards.ifeval_classic import CLASSIC
from rewards.ifeval_kwargs import Kind
from rewards.ifeval_training import TRAINING
from rewards.ifeval_tulu import TULU

SOURCES: Mapping[str, Mapping[str, Kind]] = {
    "IFEval": CLASSIC,
    "TÜLU 3": TULU,
    "IF-RLVR": {**CLASSIC, **TRAINING},
    "IFBench": {**CLASSIC, **WORDS, **FORMAT, **TASKS},
}
"""The instructions of each public data set, by id."""
KINDS: Mapping[str, Kind] = {name: kind for kinds in SOURCES.values() for name, kind in kinds.items()}
_LONGEST_GOLD = 1_000_000
_DEEPEST_GOLD = 20
# Matches one token of a Python list or dict, in time linear in the token's length.
_PYTHON_TOKEN = re.compile(
    r"\s++|[\[{(]|[\]})]|[,:]|None\b|True\b|False\b|-?\d++(?:\.\d++)?(?:[eE][-+]?\d++)?"
    r"|'(?:[^'\\\n]|\\.)*+'|\"(?:[^\"\\\n]|\\.)*+\""
)


class Instruction(NamedTuple):
    """One instruction with its arguments bound."""

    id: str
    check: Callable[[str], bool]


def read_instructions(gold: object) -> list[Instruction]:
    """Read all instructions of a gold, at least one.

    The gold is one of these, or a list of them, and may be written as JSON or as a Python literal:

    - `{"instruction_id_list": [...], "kwargs": [...]}` with as many kwargs as ids, as in IFEval and IFBench;
    - the same with `instruction_id`, a list as in the IF-RLVR data, or a single id with its kwargs;
    - `{"func_name": ...}` with the arguments beside it, as in TÜLU 3's data.

    Arguments that are None are left out.

    Raises:
        ValueError: the gold has another form, an instruction is unknown, or its arguments do not fit. No instruction is
            skipped, since an unchecked instruction would always count as followed.
    """
    value = _parsed(gold) if isinstance(gold, str) else gold
    rows = cast("Sequence[object]", value) if isinstance(value, list | tuple) else [value]
    instructions = [_instruction(name, kwargs) for row in rows for name, kwargs in _names_with_kwargs(row)]
    if not instructions:
        raise ValueError("there is no instruction")
    return instructions


def _parsed(text: str) -> object:
    """Parse a text as JSON or as a Python literal."""
    if len(text) > _LONGEST_GOLD:
        raise ValueError(f"a gold must have at most {_LONGEST_GOLD:,} characters; it has {len(text):,}")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError as error:
        if not text.lstrip().startswith(("[", "{", "(")):
            raise ValueError(f"neither JSON nor a Python list or dict: {error}") from error
    return _python_literal(text.strip())


def _python_literal(text: str) -> object:
    """Parse a Python literal of lists, dicts, texts and numbers.

    The tokens are checked first, so that Python's parser never sees a call, an operator or deep nesting.
    """
    depth, position = 0, 0
    while position < len(text):
        token = _PYTHON_TOKEN.match(text, position)
        if token is None:
            raise ValueError(f"neither JSON nor a Python list or dict, at {text[position : position + 20]!r}")
        depth += (token[0] in "[{(") - (token[0] in "]})")
        if depth > _DEEPEST_GOLD:
            raise ValueError("nested too deeply")
        position = token.end()
    try:
        return ast.literal_eval(text)
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a Python list or dict: {error}") from error


def _names_with_kwargs(row: object) -> Iterator[tuple[object, object]]:
    if isinstance(row, str):
        row = _parsed(row)
    if not isinstance(row, Mapping):
        raise ValueError(f"{row!r:.80} is not a mapping")
    fields = cast("Mapping[str, object]", row)
    if "func_name" in fields:
        yield fields["func_name"], {key: value for key, value in fields.items() if key != "func_name"}
        return
    names = fields.get("instruction_id_list", fields.get("instruction_id"))
    kwargs = fields.get("kwargs")
    if isinstance(names, str):
        yield names, kwargs
        return
    if not isinstance(names, list | tuple):
        raise ValueError(f"{row!r:.80} has no instruction_id, instruction_id_list or func_name")
    several = cast("Sequence[object]", names)
    each = cast("Sequence[object]", kwargs) if isinstance(kwargs, list | tuple) else [None] * len(several)
    if kwargs is not None and (not isinstance(kwargs, list | tuple) or len(each) != len(several)):
        raise ValueError(f"kwargs must be a list with one entry for each of the {len(several)} instructions")
    yield from zip(several, each, strict=True)


def _instruction(name: object, kwargs: object) -> Instruction:
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None or not isinstance(name, str):
        raise ValueError(f"the instruction {name!r:.80} is not known{_nearest(name)}")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise ValueError(f"the kwargs of {name} are not a mapping")
    given = {key: value for key, value in cast("Mapping[str, object]", kwargs or {}).items() if value is not None}
    unknown = sorted(set(given) - set(kind.readers))
    missing = sorted(set(kind.readers) - set(given) - set(kind.optional))
    if unknown or missing:
        raise ValueError(f"{name} takes {', '.join(kind.readers) or 'nothing'}; found {', '.join(given) or 'nothing'}")
    try:
        arguments = {kind.names.get(key, key.lower()): kind.readers[key](value) for key, value in given.items()}
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from error
    if kind.fits is not None and not kind.fits(arguments):
        raise ValueError(f"no text can follow {name} with {given!r:.200}")
    return Instruction(id=name, check=partial(kind.check, **arguments))


def _nearest(name: object) -> str:
    near = get_close_matches(name[:80], KINDS, n=1) if isinstance(name, str) else []
    return f"; did you mean {near[0]}?" if near else ""
