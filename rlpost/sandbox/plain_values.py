"""Converts values to JSON and back, for messages between the process of a program and the process of its tests.

JSON's own values stand for themselves. Every other value is `{"t": tag, "v": ...}`; `encode` defines the tags. A value
without a tag, for example an instance of a class of the program, stays where it is and is represented by a reference,
which the two sides define (`guest_server`, `guest_tests`). Decoding creates only objects of built-in types and runs no
code of the other side.
"""

from __future__ import annotations

import builtins
import datetime
import math
from collections import Counter, OrderedDict, deque, namedtuple
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

LARGEST_PLAIN_INTEGER = 2**63
"""Larger integers are sent in hexadecimal: the decimal form takes quadratic time, and Python refuses it for long
ones."""
_SEQUENCES: dict[type, str] = {
    tuple: "tuple", set: "set", frozenset: "frozenset", deque: "deque"
}  # fmt: skip
_MAPPINGS: dict[type, str] = {dict: "dict", Counter: "Counter", OrderedDict: "OrderedDict"}
_FROM_SEQUENCE: dict[str, Callable[[list[Any]], Any]] = {
    "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque,
    "dict": dict, "Counter": lambda pairs: Counter(dict(pairs)), "OrderedDict": OrderedDict,
}  # fmt: skip
_TEXT_FORMS: dict[type, str] = {Decimal: "Decimal", Fraction: "Fraction"}
_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "int": lambda text: int(text, 16),
    "float": float,
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "Decimal": Decimal,
    "Fraction": Fraction,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
}
_NO_TAG = object()


def encode(value: Any, *, reference: Callable[[Any], Any]) -> Any:
    """Encode a value as JSON; `reference` returns the representation of an object that has no plain form."""
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if -LARGEST_PLAIN_INTEGER < value < LARGEST_PLAIN_INTEGER else {"t": "int", "v": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"t": "float", "v": repr(value)}
    if kind is list:
        return [encode(item, reference=reference) for item in value]
    if kind in _MAPPINGS:
        pairs = [[encode(half, reference=reference) for half in pair] for pair in value.items()]
        return {"t": _MAPPINGS[kind], "v": pairs}
    if kind in _SEQUENCES:
        return {"t": _SEQUENCES[kind], "v": [encode(item, reference=reference) for item in value]}
    rare = _encode_rare(value, kind, reference)
    return reference(value) if rare is _NO_TAG else rare


def _encode_rare(value: Any, kind: type, reference: Callable[[Any], Any]) -> Any:
    if kind in _TEXT_FORMS:
        return {"t": _TEXT_FORMS[kind], "v": str(value)}
    if kind in (bytes, bytearray):
        return {"t": kind.__name__, "v": value.hex()}
    if kind is complex:
        return {"t": "complex", "v": [value.real.hex(), value.imag.hex()]}
    if kind is range:
        return {
            "t": "range",
            "v": [encode(part, reference=reference) for part in (value.start, value.stop, value.step)],
        }
    if kind in (datetime.date, datetime.time, datetime.datetime):
        return {"t": kind.__name__, "v": value.isoformat()}
    if kind is datetime.timedelta:
        return {"t": "timedelta", "v": [value.days, value.seconds, value.microseconds]}
    fields: Any = getattr(cast("Any", value), "_fields", None) if isinstance(value, tuple) else None
    if isinstance(fields, tuple):
        items = [encode(item, reference=reference) for item in cast("tuple[Any, ...]", tuple(value))]
        return {"t": "namedtuple", "v": [kind.__name__, list(fields), items]}
    if isinstance(value, type) and getattr(builtins, value.__name__, None) is value:
        return {"t": "builtin", "v": value.__name__}
    if kind.__module__ == "collections" and isinstance(value, dict):  # a defaultdict, sent without its factory
        return encode(dict(value), reference=reference)
    return _NO_TAG


def decode(data: Any, *, refer: Callable[[str, Any], Any]) -> Any:
    """Decode a value that `encode` wrote; `refer(tag, content)` returns the object for a reference.

    Raises:
        ValueError, TypeError, KeyError: the data is not an encoded value.
    """
    if isinstance(data, list):
        return [decode(item, refer=refer) for item in data]
    if not isinstance(data, dict):
        return data
    tag, content = data["t"], data["v"]
    if tag in _FROM_SEQUENCE:
        return _FROM_SEQUENCE[tag]([decode(item, refer=refer) for item in content])
    if tag in _FROM_TEXT:
        return _FROM_TEXT[tag](content)
    if tag == "complex":
        return complex(float.fromhex(content[0]), float.fromhex(content[1]))
    if tag == "range":
        return range(*[decode(part, refer=refer) for part in content])
    if tag == "timedelta":
        return datetime.timedelta(*content)
    if tag == "namedtuple":
        name, fields, items = content
        kind: Any = namedtuple(name, fields, rename=True)  # pyright: ignore[reportUntypedNamedTuple] - known only now
        return kind(*[decode(item, refer=refer) for item in items])
    if tag == "builtin":
        return builtin_type(content)
    return refer(tag, content)


def builtin_type(name: str) -> type:
    """Return the built-in type of this name; raise ValueError if there is none."""
    found: object = getattr(builtins, name, None)
    if not isinstance(found, type):
        raise ValueError(f"no built-in type is called {name!r:.100}")
    return found
