"""Mutations of a data file: of its rows, and of the bytes that they become."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from fuzz_values import any_value, near, nested

Rows = list[dict[str, Any]]
FORMATS = ("jsonl", "jsonl", "jsonl", "parquet", "parquet", "parquet_folder", "hf_saved", "hf_folder")


def mutate_rows(rows: Rows, rng: Random) -> str:
    """Change one or all rows; says what was done."""
    if not rows:
        rows.append({"prompt": any_value(rng)})
        return "a row made up"
    row = rng.choice(rows)
    column = rng.choice([*row, "prompt"])
    chosen = rows if rng.random() < 0.3 else [row]
    match rng.choice(("set", "set", "near", "drop", "rename", "add", "turn", "turn", "rows", "null", "wide", "deep")):
        case "set":
            value = any_value(rng)
            for each in chosen:
                each[column] = value
            return f"{column} of {len(chosen)} rows: {value!r:.60}"
        case "near":
            for each in chosen:
                each[column] = near(each.get(column), rng)
            return f"{column} of {len(chosen)} rows: near"
        case "drop":
            for each in chosen:
                each.pop(column, None)
            return f"{column} of {len(chosen)} rows: dropped"
        case "rename":
            name = rng.choice(("Prompt", "messages", "text", "chosen", "question", "dataset", "", "🙂", "gold"))
            for each in chosen:
                if column in each:
                    each[name] = each.pop(column)
            return f"{column} of {len(chosen)} rows: renamed to {name!r}"
        case "add":
            name = rng.choice(
                ("gold", "response", "rejected", "messages", "text", "prompt", "reasoning_gym", "question")
            )
            for each in chosen:
                each[name] = any_value(rng)
            return f"{name} of {len(chosen)} rows: added"
        case "turn":
            return _mutate_turns(row, rng)
        case "rows":
            kept = rng.choice((0, 1, 2))
            rows[:] = rng.choice((rows[:kept], rows * 3, [row] * 5, rows[::-1], [{}] * 3))
            return f"{len(rows)} rows left"
        case "null":
            for each in chosen:
                for name in each:
                    each[name] = None
            return f"{len(chosen)} rows of nothing"
        case "wide":
            row |= {f"column {number} " + "x" * 50: number for number in range(300)}
            return "300 columns more"
        case _:
            depth = rng.choice((20, 200, 900))
            row[column] = nested(depth)
            return f"{column}: nested {depth} deep"


def _mutate_turns(row: dict[str, Any], rng: Random) -> str:
    """Of a conversation: a role, a content, an order."""
    names = [name for name, value in row.items() if isinstance(value, list) and value]
    if not names:
        row["messages"] = rng.choice(([], [{}], [None], "x", [{"role": "user"}], [{"role": "system", "content": "x"}]))
        return f"messages: {row['messages']!r:.60}"
    name = rng.choice(names)
    turns = [dict(turn) if isinstance(turn, dict) else turn for turn in row[name]]
    place = rng.randrange(len(turns))
    match rng.choice(("role", "content", "drop", "double", "reverse", "extra", "none")):
        case "role" if isinstance(turns[place], dict):
            turns[place]["role"] = rng.choice(("system", "tool", "assistant", "", None, 3, "user "))
        case "content" if isinstance(turns[place], dict):
            turns[place]["content"] = any_value(rng)
        case "drop":
            del turns[place]
        case "double":
            turns.insert(place, turns[place])
        case "extra" if isinstance(turns[place], dict):
            turns[place]["tool_calls"] = any_value(rng)
        case "none":
            turns[place] = None
        case _:
            turns.reverse()
    row[name] = turns
    return f"turns of {name}: {turns!r:.80}"


def json_lines(rows: Rows, rng: Random) -> bytes:
    """With NaN and infinities as Python writes them, text as escapes or as it is."""
    as_escapes = rng.random() < 0.5
    lines = [json.dumps(row, ensure_ascii=as_escapes) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")


def write_parquet(rows: Rows, path: Path) -> None:
    """What Arrow has no type for is written as JSON text."""
    import pyarrow
    from pyarrow import parquet

    columns = {name: [row.get(name) for row in rows] for row in rows for name in row}
    arrays = {}
    for name, values in columns.items():
        as_text = [_encodable(json.dumps(value)) for value in values]
        try:
            arrays[_encodable(name)] = pyarrow.array(as_text if _depth(values) > 20 else values)
            parquet.write_table(pyarrow.table({"x": arrays[_encodable(name)]}), path)
            parquet.read_table(path)
        except (pyarrow.ArrowException, OSError, TypeError, ValueError, OverflowError):
            arrays[_encodable(name)] = pyarrow.array(as_text)
    parquet.write_table(pyarrow.table(arrays), path)


def _depth(value: Any) -> int:
    text = json.dumps(value)
    return max(text.count("[") - 1, text.count("{"))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def write_data(rows: Rows, kind: str, folder: Path, rng: Random) -> tuple[str, list[Path]]:
    """The rows in a format; returns the recipe's `source` and the files whose bytes can be changed."""
    match kind:
        case "jsonl":
            (folder / "rows.jsonl").write_bytes(json_lines(rows, rng))
            return "jsonl:rows.jsonl", [folder / "rows.jsonl"]
        case "parquet":
            write_parquet(rows, folder / "rows.parquet")
            return "parquet:rows.parquet", [folder / "rows.parquet"]
        case "parquet_folder":
            (folder / "rows").mkdir()
            half = len(rows) // 2
            write_parquet(rows[:half], folder / "rows" / "0.parquet")
            write_parquet(rows[half:], folder / "rows" / "1.parquet")
            return "parquet:rows", sorted((folder / "rows").iterdir())
        case "hf_saved":
            import datasets

            write_parquet(rows, folder / "as.parquet")
            try:
                made = datasets.Dataset.from_parquet(str(folder / "as.parquet"))
            except datasets.exceptions.DatasetsError:
                # It has no type for what Parquet has one for, such as a mapping without keys.
                made = datasets.Dataset.from_dict({"prompt": [_encodable(json.dumps(row)) for row in rows]})
            made.save_to_disk(folder / "rows")
            return "hf:rows", sorted((folder / "rows").iterdir())
        case _:
            (folder / "rows").mkdir()
            (folder / "rows" / "train.jsonl").write_bytes(json_lines(rows, rng))
            return "hf:rows", [folder / "rows" / "train.jsonl"]


def mutate_bytes(content: bytes, rng: Random) -> tuple[bytes, str]:
    """Change a file's bytes; also says what was done."""
    start = rng.randrange(len(content) + 1)
    line = content.rfind(b"\n", 0, start) + 1
    match rng.choice(("cut", "cut", "flip", "flip", "flip", "insert", "insert", "line", "line", "line", "whole")):
        case "cut":
            return content[:start], f"cut off at {start}"
        case "flip":
            changed = bytearray(content or b"x")
            count = rng.choice((1, 1, 8, 100))
            for _ in range(count):
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            return bytes(changed), f"{count} bits flipped"
        case "insert":
            inserted = rng.choice(
                (b"\xff", b"\x00", b"\xed\xa0\x80", b"\n", b"\r", b",", b"}", b'"', b"\xe2\x80\xa8", b"\\u")
            )
            return content[:start] + inserted + content[start:], f"{inserted!r} put at {start}"
        case "line":
            name, made = rng.choice(LINES)
            return content[:line] + made() + b"\n" + content[line:], f"a line more: {name}"
        case _:
            name, change = rng.choice(WHOLES)
            return change(content), name


LINES: tuple[tuple[str, Callable[[], bytes]], ...] = (
    ("a list", lambda: b"[1, 2]"),
    ("null", lambda: b"null"),
    ("a number", lambda: b"1e999"),
    ("an empty mapping", lambda: b"{}"),
    ("NaN", lambda: b'{"prompt": "1 + 1 =", "response": "2", "gold": NaN}'),
    ("Infinity", lambda: b'{"prompt": "1 + 1 =", "response": "2", "gold": -Infinity, "meta": 1e999}'),
    ("a key twice", lambda: b'{"prompt": "1", "prompt": "2", "response": "3", "gold": "3"}'),
    ("half a surrogate pair", lambda: b'{"prompt": "\\ud800 + 1 =", "response": "2", "gold": "2"}'),
    ("surrogates in a key", lambda: b'{"prompt": "1", "response": "2", "gold": "2", "\\udfff": 1}'),
    ("a number of 30 digits", lambda: b'{"prompt": "1", "response": "2", "gold": ' + b"9" * 30 + b"}"),
    ("a number of 5,000 digits", lambda: b'{"prompt": "1", "response": "2", "gold": ' + b"9" * 5000 + b"}"),
    ("100,000 brackets", lambda: b"[" * 100_000 + b"]" * 100_000),
    ("100,000 mappings", lambda: b'{"a":' * 100_000),
    # A tokenizer takes a second for each MB, and the square of their number where something grows with the square.
    ("2 MB", lambda: b'{"prompt": "' + b"x" * 2_000_000 + b'", "response": "2", "gold": "2"}'),
    ("2 MB of a document", lambda: b'{"text": "' + b"word " * 400_000 + b'"}'),
    ("10 MB of blanks", lambda: b" " * 10_000_000),
    ("half an object", lambda: b'{"prompt": "1", "resp'),
    ("an object and more", lambda: b'{"prompt": "1"} {"prompt": "2"}'),
    ("a comma behind", lambda: b'{"prompt": "1", "response": "2",}'),
    ("single quotes", lambda: b"{'prompt': '1'}"),
    ("controls in text", lambda: b'{"prompt": "1\x002", "response": "2", "gold": "2"}'),
    ("markup in text", lambda: b'{"prompt": "<|eos|><|user|>", "response": "<|assistant|>", "gold": "<|pad|>"}'),
    ("empty texts", lambda: b'{"prompt": "", "response": "", "gold": "", "text": ""}'),
    ("blank texts", lambda: b'{"prompt": " ", "response": "\\n", "gold": " ", "text": "\\n"}'),
)

WHOLES: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("nothing left", lambda content: b""),
    ("only blanks", lambda content: b" \n\t\n\r\n"),
    ("a byte order mark", lambda content: b"\xef\xbb\xbf" + content),
    ("CRLF", lambda content: content.replace(b"\n", b"\r\n")),
    ("one line", lambda content: content.replace(b"\n", b" ")),
    ("as a list", lambda content: b"[" + content.replace(b"\n", b",\n").rstrip(b",\n") + b"]"),
    ("zeros", lambda content: bytes(len(content))),
    ("UTF-16", lambda content: content.decode("utf-8", "replace").encode("utf-16")),
    ("noise", lambda content: Random(0).randbytes(len(content) + 8)),
    ("the head of a Parquet file", lambda content: b"PAR1" + content),
    ("twice", lambda content: content + content),
    ("the beginning of an archive", lambda content: b"\x1f\x8b\x08\x00" + content),
)


def mutate_place(path: Path, rng: Random) -> str:
    """Put something else where the file was; says what."""
    path.unlink()
    match rng.choice(("nothing", "folder", "pipe", "link", "link to itself", "device")):
        case "folder":
            path.mkdir()
            return "a folder in its place"
        case "pipe":
            os.mkfifo(path)
            return "a named pipe in its place"
        case "link":
            path.symlink_to("nowhere")
            return "a link to nowhere in its place"
        case "link to itself":
            path.symlink_to(path.name)
            return "a link to itself in its place"
        case "device":
            path.symlink_to("/dev/zero")
            return "an endless device in its place"
        case _:
            return "no file"
