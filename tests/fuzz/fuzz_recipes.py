"""Mutations of a recipe: of the document that it is, of its text, and of what is said beside it on the command line."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import yaml
from fuzz_values import WORDS, any_value, near

from rlpost.recipe.layers import read_document
from rlpost.recipe.yaml_reader import parse_yaml
from rlpost.recipe.yaml_tree import Where, plain

FRAGMENTS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("fragments.yaml").read_text(encoding="utf-8"))
ALTERNATIVES: dict[str, list[str]] = FRAGMENTS.pop("alternatives")
INSERTED = (
    *(b"&a ", b"*a", b"<<: *a\n", b"<<: {a: 1}\n", b"!!python/object/apply:os.getcwd []\n", b"!!int ", b"!x "),
    *(b"? [a, b]\n: c\n", b"---\n", b"...\n", b"%YAML 1.2\n---\n", b"%TAG ! tag:x:\n", b"\t", b"\x00", b"\xff\xfe"),
    *(b"\xed\xa0\x80", b"\xef\xbb\xbf", b"#", b": ", b"- ", b"[", b"]", b"{", b"}", b"'", b'"', b"|\n", b">-\n"),
    *(b"\xe2\x80\xa8", b"\r", b"\r\n", b"\x85", b"\x7f", b"${env:FUZZ_TEXT}", b"${env:", b"extends: self.yaml\n"),
    *(b"@", b"`", b"!!binary ", b"\xc3"),
)


@dataclass
class RecipeFiles:
    """A recipe on its way from document to text, and what stands beside it."""

    document: Any
    text: bytes = b""
    overrides: list[str] = field(default_factory=list[str])


def document_of(path: Path, *, flat: bool) -> Any:
    """The recipe as plain data; `flat` has what it extends laid under it."""
    if flat:
        return plain(read_document(path, overrides=[]).root)
    where = Where(source=path.name, line=1, folder=path.parent)
    return plain(parse_yaml(path.read_text(encoding="utf-8"), where=where)[0])


def dumped(document: Any, rng: Random) -> bytes:
    """As YAML in one of its styles."""
    style = rng.choice(("block", "flow", "json"))
    if style == "json":
        return json.dumps(document).encode()
    # Half of a surrogate pair has no UTF-8, and is written as an escape.
    unicode = rng.random() < 0.5
    text = yaml.safe_dump(document, allow_unicode=unicode, sort_keys=False, default_flow_style=style == "flow")
    return text.encode("utf-8", "surrogatepass")


def spots(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [spot for key in keys for spot in spots(value[key])]


def mutate_document(files: RecipeFiles, rng: Random) -> str:
    """Change one place of the document; says what was done."""
    places = spots(files.document)
    if not places:
        files.document = any_value(rng)
        return "the whole document replaced"
    container, key = rng.choice(places)
    match rng.choice(("near",) * 7 + ("extra",) * 7 + ("replace", "replace", "remove", "swap", "rename")):
        case "near" if not isinstance(container[key], dict | list):
            alternatives = ALTERNATIVES.get(str(key))
            container[key] = rng.choice(alternatives) if alternatives else near(container[key], rng)
            return f"{key}: near {container[key]!r:.60}"
        case "remove":
            del container[key]
            return f"{key}: removed"
        case "extra":
            place = rng.choice(("rl",) * 4 + ("stage", "stage", "data", "data", "config", "recipe", "*", "model"))
            [(name, value)] = rng.choice(FRAGMENTS[place]).items()
            _mapping_at(place, files.document, rng)[name] = copy.deepcopy(value)
            return f"extra {name} in {place}: {value!r:.60}"
        case "swap":
            other, other_key = rng.choice(places)
            container[key], other[other_key] = other[other_key], container[key]
            if _holds_itself(files.document):
                container[key] = other[other_key] = None
            return f"{key} and {other_key}: swapped"
        case "rename" if isinstance(container, dict):
            name = str(rng.choice((*WORDS, f"{key}s", str(key)[:-1], "", "🙂")))
            container[name] = container.pop(key)
            return f"{key}: renamed to {name!r}"
        case _:
            container[key] = any_value(rng)
            return f"{key}: replaced by {container[key]!r:.60}"


def _mapping_at(place: str, document: Any, rng: Random) -> dict[str, Any]:
    """A stage, a data set, a node of the rewards, or a section; now and then any other mapping."""
    mappings = [_as_mapping(container[key]) for container, key in spots(document)]
    found = {
        "stage": [value for value in mappings if "kind" in value and "data" in value],
        "rl": [value for value in mappings if "prompts_per_step" in value],
        "data": [value for value in mappings if "source" in value],
        "recipe": [_as_mapping(document)],
    }.get(place)
    if found is None:
        found = [value for container, key in spots(document) if key == place and (value := _as_mapping(container[key]))]
    if not found or rng.random() < 0.15:
        found = [document, *(container for container, _ in spots(document))]
    return _as_mapping(rng.choice(found))


def _as_mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _holds_itself(value: Any, above: tuple[int, ...] = ()) -> bool:
    if id(value) in above:
        return True
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_holds_itself(child, (*above, id(value))) for child in children)


def mutate_text(files: RecipeFiles, rng: Random) -> str:
    """Change the text somewhere; says what was done."""
    text, start = files.text, rng.randrange(len(files.text) + 1)
    lines = text.split(b"\n")
    line = rng.randrange(len(lines))
    match rng.choice(("cut", "insert", "insert", "insert", "flip", "lines", "lines", "encoding", "bomb", "end")):
        case "cut":
            stop = min(len(text), start + rng.randint(1, 60))
            files.text = text[:start] + text[stop:]
            return f"bytes {start} to {stop} cut out"
        case "insert":
            inserted = rng.choice(INSERTED)
            # At the beginning of a line or value more often than in the middle of a word.
            if rng.random() < 0.7:
                start = text.rfind(rng.choice((b"\n", b": ")), 0, start) + 1
            files.text = text[:start] + inserted + text[start:]
            return f"{inserted!r} put at {start}"
        case "flip":
            changed = bytearray(text or b"x")
            for _ in range(rng.choice((1, 1, 4, 40))):
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            files.text = bytes(changed)
            return "bits flipped"
        case "lines":
            other = rng.randrange(len(lines))
            match rng.choice(("double", "swap", "drop", "indent", "tab")):
                case "double":
                    lines.insert(other, lines[line])
                case "swap":
                    lines[line], lines[other] = lines[other], lines[line]
                case "drop":
                    del lines[line]
                case "indent":
                    lines[line] = b"  " + lines[line]
                case _:
                    lines[line] = lines[line].replace(b"  ", b"\t", 1)
            files.text = b"\n".join(lines)
            return f"lines {line} and {other}"
        case "encoding":
            name, change = rng.choice(ENCODINGS)
            files.text = change(text)
            return name
        case "bomb":
            name, bomb = rng.choice(BOMBS)
            files.text = bomb() if rng.random() < 0.3 else text + b"\n" + bomb()
            return name
        case _:
            files.text = text[:start]
            return f"cut off at {start}"


def _utf16(text: bytes) -> bytes:
    return text.decode("utf-8", "replace").encode("utf-16")


ENCODINGS: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("a byte order mark", lambda text: b"\xef\xbb\xbf" + text),
    ("CRLF", lambda text: text.replace(b"\n", b"\r\n")),
    ("CR", lambda text: text.replace(b"\n", b"\r")),
    ("UTF-16", _utf16),
    ("Latin-1", lambda text: text + "\n# é".encode("latin-1")),
    ("nothing", lambda text: b""),
    ("blanks", lambda text: b" \n\t\n"),
    ("zeros", lambda text: bytes(len(text))),
)


def _laughs() -> bytes:
    names = "abcdefghijklmnop"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in pairwise(names)]
    return "\n".join(lines).encode()


BOMBS: tuple[tuple[str, Callable[[], bytes]], ...] = (
    ("billion laughs", _laughs),
    ("a list of lists", lambda: b"deep: " + b"[" * 900 + b"]" * 900),
    ("lists without an end", lambda: b"deep: " + b"[" * 20_000),
    ("100,000 brackets", lambda: b"[" * 100_000),
    ("100,000 mappings", lambda: b"{a: " * 100_000),
    ("a deep block", lambda: b"\n".join(b" " * depth + b"a:" for depth in range(1500))),
    ("many dashes", lambda: b"- " * 5_000 + b"x"),
    ("100,000 keys", lambda: b"\n".join(f"k{number}: {number}".encode() for number in range(100_000))),
    ("3 MB in one word", lambda: b"name: " + b"x" * 3_000_000),
    ("2 MB of quotes", lambda: b'name: "' + b"\\n" * 1_000_000 + b'"'),
    ("1 MB of brackets in text", lambda: b"name: '" + b"[{" * 500_000 + b"'"),
    ("a number of 5,000 digits", lambda: b"seed: " + b"9" * 5_000),
    ("an exponent", lambda: b"seed: 1e" + b"9" * 400),
    ("an anchor of itself", lambda: b"self: &s [*s]"),
)


def mutate_command(files: RecipeFiles, rng: Random) -> str:
    """Say something beside the recipe with `--set`."""
    keys = [_dotted(files.document, container, key) for container, key in spots(files.document)]
    key = rng.choice((*keys, "x", "", "stages.grpo", "stages..steps", "a.b.c", ".", "stages[0].steps", "🙂"))
    values = (
        *("1", "3", "0", "-1", "1e18", "null", "[]", "{}", "[a", "*a", "!x 1", "${env:FUZZ_UNSET}", "${env:FUZZ_TEXT}"),
        *("true", "", " ", "\x00", "\udcff", "{steps: 2}", "{name: x, kind: sft}", "[worked]", "[" * 5000, "x" * 5000),
    )
    equals = "" if rng.random() < 0.05 else "="
    files.overrides.append(f"{key}{equals}{rng.choice(values)}")
    return f"--set {files.overrides[-1]!r:.80}"


def _dotted(document: Any, container: Any, key: Any) -> str:
    """How `--set` names a place: keys, and the names of stages."""
    found = _path_to(document, container)
    return ".".join(str(part) for part in (*(found or ()), key))


def _path_to(value: Any, wanted: Any) -> tuple[Any, ...] | None:
    if value is wanted:
        return ()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        below = _path_to(child, wanted)
        if below is not None:
            name = child.get("name") if isinstance(child, dict) and isinstance(key, int) else None
            return (name or key, *below)
    return None
