"""A guest that runs a program and then answers questions about its functions and objects, one JSON line each way.

It sees the arguments of a call and never the result that a test expects. It shares its interpreter with the program, so
its answers are no more trustworthy than the program.

Question: `{"do": operation, "args": [...], "kwargs": {...}, "shared": bool}`. `do` is a key of `OPERATIONS`, or
`global` to look up a name of the program. Answer: `{"value": ...}`, with `"changed": {position: value}` if arguments
are shared and the call changed some in place; `{"raised": type, "message": ...}`; `{"missing": true}`; or, before the
answer, `{"callback": n, "args": [...], "kwargs": {...}}`, to which the other side replies with a value or an exception
in the same form.
"""

from __future__ import annotations

import json
import operator
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import IO, Any

from rlpost.sandbox.plain_values import decode, encode


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": _call,
    "getattr": getattr,
    "setattr": setattr,
    "isinstance": isinstance,
    **{function.__name__: function for function in (len, iter, next, bool, str, repr, int, float, abs, reversed)},
    **{
        name: getattr(operator, name)
        for name in ("getitem", "setitem", "delitem", "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "neg",
                     "matmul", "and_", "or_", "xor", "lshift", "rshift")
    },
}  # fmt: skip


def serve_program(job: dict[str, Any], reader: IO[bytes], writer: IO[bytes]) -> int:
    """Run the program, then answer questions until the channel closes."""
    module = ModuleType("solution")
    sys.modules["solution"] = module
    server = _Server(module.__dict__, reader, writer, shared=job["shared"])
    try:
        exec(compile(job["program"], "program.py", "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        server.send({"failed": f"{type(error).__name__}: {error!s:.200}"})
        return 1
    server.send({"loaded": True})
    while (question := server.receive()) is not None:
        server.answer(question)
    return 0


class _Server:
    """The program's names, and those of its objects that were sent out as references."""

    def __init__(self, names: dict[str, Any], reader: IO[bytes], writer: IO[bytes], *, shared: bool) -> None:
        self._names = names
        self._reader = reader
        self._writer = writer
        self._shared = shared
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}

    def send(self, message: dict[str, Any]) -> None:
        rest = memoryview(json.dumps(message).encode() + b"\n")
        while rest:  # a raw writer may write only a part
            rest = rest[self._writer.write(rest) :]

    def receive(self) -> dict[str, Any] | None:
        line = self._reader.readline()
        return json.loads(line) if line else None

    def answer(self, question: dict[str, Any]) -> None:
        try:
            message = self._result(question)
        except (SystemExit, KeyboardInterrupt) as error:
            message = {"raised": {"t": "builtin", "v": "RuntimeError"}, "message": f"the program raised {error!r:.100}"}
        except BaseException as error:
            message = self._exception(error)
        try:
            self.send(message)
        except OSError:
            os._exit(1)

    def _result(self, question: dict[str, Any]) -> dict[str, Any]:
        if question["do"] == "global":
            name = question["args"][0]
            return {"value": self._encode(self._names[name])} if name in self._names else {"missing": True}
        arguments = [self._decode(argument) for argument in question["args"]]
        named = {name: self._decode(argument) for name, argument in question["kwargs"].items()}
        value = OPERATIONS[question["do"]](*arguments, **named)
        message: dict[str, Any] = {"value": self._encode(value)}
        if self._shared and question["do"] == "call":
            after = {place: self._encode(argument) for place, argument in enumerate(arguments)}
            changed = {place: now for place, now in after.items() if now != question["args"][place]}
            message["changed"] = {str(place): now for place, now in changed.items()}
        return message

    def _exception(self, error: BaseException) -> dict[str, Any]:
        return {"raised": self._encode(type(error)), "message": f"{error!s:.1000}"}

    def _encode(self, value: Any) -> Any:
        return encode(value, reference=self._reference)

    def _decode(self, data: Any) -> Any:
        return decode(data, refer=self._refer)

    def _reference(self, value: Any) -> Any:
        number = self._numbers.get(id(value))
        if number is None:
            number = len(self._objects)
            self._numbers[id(value)] = number
            self._objects.append(value)  # this also keeps it alive, so that no other object gets its id
        if isinstance(value, type) and issubclass(value, BaseException):
            return {"t": "exception", "v": [number, value.__name__, self._encode(value.__base__)]}
        return {"t": "object", "v": [number, type(value).__name__]}

    def _refer(self, tag: str, content: Any) -> Any:
        if tag == "object":
            return self._objects[content]
        if tag == "callback":
            return _Callback(self, content)
        raise ValueError(f"no such tag: {tag!r:.100}")

    def call_back(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function of the asserts with these arguments and return its result."""
        named = {name: self._encode(argument) for name, argument in kwargs.items()}
        self.send({"callback": number, "args": [self._encode(argument) for argument in args], "kwargs": named})
        answer = self.receive()
        if answer is None:
            os._exit(1)
        if "raised" in answer:
            raise self._decode(answer["raised"])(answer["message"])
        return self._decode(answer["value"])


class _Callback:
    """A function of the asserts, as the program sees it."""

    def __init__(self, server: _Server, number: int) -> None:
        self._server = server
        self._number = number

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._server.call_back(self._number, args, kwargs)
