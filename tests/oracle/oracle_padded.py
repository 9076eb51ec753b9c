"""The batch as padded tensors, and the printing of answers, for the processes that ask other frameworks."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from oracle_cases import Answer, Answers, Array, Batch
from torch import Tensor


class Reason(NamedTuple):
    """The place in a framework at which it departs from the paper, and why."""

    function: Callable[..., Any]
    words: str
    """Words on the line."""
    why: str


class _LeftOut(ModuleType):
    """A package whose own names are all `object`; its modules are the real ones."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return object


def leave_out(framework: str, *, packages: Sequence[str]) -> None:
    """Let modules be imported without the `__init__` of these packages, which import far more than the functions need.

    The names that modules import from such a package are empty classes: annotations and base classes may be, functions
    that are asked may not.
    """
    root = Path(str(distribution(framework).locate_file("")))
    for name in packages:
        package = _LeftOut(name)
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[name] = package


def padded(values_BT: Array) -> Tensor:
    """Return a float64 tensor of the same shape."""
    return torch.tensor(values_BT, dtype=torch.float64)


def answer_of(loss: Tensor, *, wrt: Tensor, data: Batch) -> Answer:
    """Return the loss and its gradient at the tokens that exist."""
    gradient_BT = torch.autograd.grad(loss, wrt)[0].numpy()
    return Answer([loss.item()], gradient_BT[data.is_token_BT].tolist())


def tokens_of(values_BT: Tensor, data: Batch) -> Answer:
    """Return the numbers of the tokens that exist."""
    return Answer(values_BT.numpy()[data.is_token_BT].tolist(), [])


def place_of(reason: Reason) -> str:
    """Return the file from the package on, and the line."""
    lines, first = inspect.getsourcelines(reason.function)
    found = [number for number, line in enumerate(lines, first) if reason.words in line]
    assert found, f"{reason.function.__qualname__} must have a line with {reason.words!r}"
    path = Path(inspect.getsourcefile(reason.function) or "")
    inside = path.parts[max(index for index, part in enumerate(path.parts) if part == "site-packages") + 1 :]
    return f"{'/'.join(inside)}:{found[0]}"


def print_answers(answers: Answers, reasons: Mapping[str, Reason]) -> None:
    """Print everything as JSON on the last line."""
    places = {name: [place_of(reason), reason.why] for name, reason in reasons.items()}
    print("\n" + json.dumps({"answers": answers, "reasons": places}))
