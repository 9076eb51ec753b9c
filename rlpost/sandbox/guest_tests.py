"""A guest that runs the asserts of a data set against a program that runs in another guest.

The asserts' own statements run here, on plain data of built-in types. A name that the asserts do not define is
requested from the program: a function becomes a `Remote`, whose calls are questions to the program, and so does any
object without a plain form. A `Remote` equals only itself and has no order: if the program were asked whether its
object equals the expected value, it could simply answer yes.

Lines to the host: `{"nonce": ..., "ask": {...}}`, answered as `guest_server` describes; `{"nonce": ..., "passed": bool,
"asked": bool, "text": ...}` after each unit; `{"nonce": ..., "units": n}` before the first; `{"nonce": ...,
"unreadable": reason}`; and `{"nonce": ..., "end": true}`.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType
from typing import IO, Any

from rlpost.sandbox.assert_units import Unit, UnreadableTestsError, split_units
from rlpost.sandbox.plain_values import decode, encode

_BUILTINS = frozenset(vars(builtins))


def run_tests(job: dict[str, Any], reader: IO[bytes], writer: IO[bytes]) -> int:
    """Run every unit in order, or up to the first failure."""
    link = _Link(job["nonce"], reader, writer, shared=job["shared"])
    names = _Names(link)
    try:
        units = split_units(job["tests"])
        link.send({"units": sum(unit.counts for unit in units)})
        for unit in units:
            passed = _run(unit, names, link)
            if unit.counts:
                link.send({"passed": passed, "asked": link.asked > 0, "text": unit.text})
            if not passed and not job["partial"]:
                break
    except UnreadableTestsError as error:
        link.send({"unreadable": str(error)})
        return 0
    link.send({"end": True})
    return 0


def _run(unit: Unit, names: _Names, link: _Link) -> bool:
    """Run one unit, and return whether it raised nothing.

    Raises:
        UnreadableTestsError: the unit failed before it asked the program anything.
    """
    try:
        exec(unit.code, names)
    except Exception as error:
        if link.asked == 0 or isinstance(error, _CannotBeGivenError):
            raise UnreadableTestsError(f"`{unit.text}` raised {type(error).__name__}: {error!s:.200}") from error
        if not unit.counts:
            link.send({"passed": False, "asked": True, "text": f"{unit.text} raised {type(error).__name__}"})
        return False
    return True


class _CannotBeGivenError(TypeError):
    """An argument has no plain form."""


class _Link:
    """The connection to the program, through the host."""

    def __init__(self, nonce: str, reader: IO[bytes], writer: IO[bytes], *, shared: bool) -> None:
        self._nonce = nonce
        self._reader = reader
        self._writer = writer
        self._shared = shared
        self._remotes: dict[int, Any] = {}
        self._callbacks: list[Callable[..., Any]] = []
        self.asked = 0

    def send(self, message: dict[str, Any]) -> None:
        rest = memoryview(json.dumps({"nonce": self._nonce, **message}).encode() + b"\n")
        while rest:
            rest = rest[self._writer.write(rest) :]

    def ask(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        """Return the program's answer, decoded. Raise the exception that the program raised, or NameError for a missing
        name.
        """
        self.asked += 1
        named = {name: self._encode(argument) for name, argument in kwargs.items()}
        question = {"do": operation, "args": [self._encode(argument) for argument in args], "kwargs": named}
        self.send({"ask": question})
        answer = self._receive()
        while "callback" in answer:
            self.send({"ask": self._called_back(answer)})
            answer = self._receive()
        if "missing" in answer:
            raise NameError(f"the program has no {args[0]}")
        if "raised" in answer:
            kind = self._decode(answer["raised"])
            raise kind(answer["message"])
        for place, now in answer.get("changed", {}).items():
            _change_in_place(args[int(place)], self._decode(now))
        return self._decode(answer["value"])

    def _receive(self) -> dict[str, Any]:
        line = self._reader.readline()
        if not line:
            raise SystemExit  # the host has closed the channel, so nobody reads an answer
        return json.loads(line)

    def _called_back(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            function = self._callbacks[request["callback"]]
            named = {name: self._decode(argument) for name, argument in request["kwargs"].items()}
            return {"value": self._encode(function(*[self._decode(item) for item in request["args"]], **named))}
        except Exception as error:
            kind = next(base.__name__ for base in type(error).__mro__ if getattr(builtins, base.__name__, None) is base)
            return {"raised": {"t": "builtin", "v": kind}, "message": f"{error!s:.1000}"}

    def _encode(self, value: Any) -> Any:
        return encode(value, reference=self._reference)

    def _reference(self, value: Any) -> Any:
        if type(value) is Remote:
            return {"t": "object", "v": object.__getattribute__(value, "_number")}
        if isinstance(value, FunctionType | BuiltinFunctionType):
            self._callbacks.append(value)
            return {"t": "callback", "v": len(self._callbacks) - 1}
        if isinstance(value, type) and hasattr(value, "_remote_number"):
            return {"t": "object", "v": value._remote_number}
        raise _CannotBeGivenError(f"a {type(value).__name__} has no plain form, so it cannot be given to the program")

    def _decode(self, data: Any) -> Any:
        return decode(data, refer=self._refer)

    def _refer(self, tag: str, content: Any) -> Any:
        number, name = content[0], content[1]
        if number not in self._remotes:
            if tag == "exception":
                base = self._decode(content[2])
                self._remotes[number] = type(name, (base,), {"_remote_number": number})
            else:
                self._remotes[number] = Remote(self, number, name)
        return self._remotes[number]


def _change_in_place(argument: Any, now: Any) -> None:
    if isinstance(argument, list):
        argument[:] = now
    elif isinstance(argument, dict | set):
        argument.clear()
        argument.update(now)
    elif isinstance(argument, bytearray):
        argument[:] = now


class _Names(dict[str, Any]):
    """The asserts' own names; every other name, unless it is built in, is requested from the program."""

    def __init__(self, link: _Link) -> None:
        super().__init__(__name__="__main__")
        self._link = link

    def __missing__(self, name: str) -> Any:
        if name in _BUILTINS:
            raise KeyError(name)
        value = self._link.ask("global", name)
        if type(value) is Remote:  # plain values may change, so only functions, classes and objects are kept
            self[name] = value
        return value


def _asking(operation: str) -> Callable[..., Any]:
    def ask(self: Remote, *args: Any) -> Any:
        return object.__getattribute__(self, "_link").ask(operation, self, *args)

    return ask


def _asking_reversed(operation: str) -> Callable[..., Any]:
    def ask(self: Remote, other: Any) -> Any:
        return object.__getattribute__(self, "_link").ask(operation, other, self)

    return ask


class Remote:
    """An object that stays in the program's process."""

    def __init__(self, link: _Link, number: int, name: str) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_kind", name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the program's function, class or method and return its result."""
        return object.__getattribute__(self, "_link").ask("call", self, *args, **kwargs)

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return Remote
        return object.__getattribute__(self, "_link").ask("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__getattribute__(self, "_link").ask("setattr", self, name, value)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return hash(object.__getattribute__(self, "_number"))

    def __contains__(self, wanted: Any) -> bool:
        return any(item is wanted or item == wanted for item in self)

    def __iter__(self) -> Iterator[Any]:
        link = object.__getattribute__(self, "_link")
        iterator = link.ask("iter", self)
        while True:
            try:
                yield link.ask("next", iterator)
            except StopIteration:
                return

    def __instancecheck__(self, instance: object) -> bool:
        link = object.__getattribute__(self, "_link")
        return type(instance) is Remote and link.ask("isinstance", instance, self) is True


for _name, _operation in {
    "len": "len", "bool": "bool", "str": "str", "repr": "repr", "next": "next", "int": "int", "float": "float",
    "abs": "abs", "neg": "neg", "reversed": "reversed", "getitem": "getitem", "setitem": "setitem",
    "delitem": "delitem", "add": "add", "sub": "sub", "mul": "mul", "truediv": "truediv", "floordiv": "floordiv",
    "mod": "mod", "pow": "pow", "matmul": "matmul", "and": "and_", "or": "or_", "xor": "xor", "lshift": "lshift",
    "rshift": "rshift",
}.items():  # fmt: skip
    setattr(Remote, f"__{_name}__", _asking(_operation))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"):
    setattr(Remote, f"__r{_name}__", _asking_reversed(_name))
