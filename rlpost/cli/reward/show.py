"""`rlpost reward show`: describes one verifier."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import asdict
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from rlpost.cli.reward.options import JsonOption, NameArgument, excerpt, shown_params
from rlpost.scoring.authoring import Verifier
from rlpost.scoring.registry import resolve
from rlpost.scoring.requirements import why_it_cannot_run

_ARGUMENT = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def show(name: NameArgument, json_: JsonOption = False) -> None:
    """Show what a verifier judges, its parameters with types and defaults, its limits, and its cases."""
    verifier = resolve(name)
    parameters = _parameters(verifier)
    if json_:
        record = {
            "spec": asdict(verifier.spec),
            "reference": verifier.reference,
            "cannot_run": why_it_cannot_run(verifier),
            "parameters": parameters,
            "cases": [asdict(case) for case in verifier.cases],
        }
        typer.echo(json.dumps(record, indent=2, default=repr))
        return
    spec = verifier.spec
    typer.echo(f"{spec.stamp}  ({verifier.reference})\n")
    typer.echo(inspect.cleandoc(verifier.function.__doc__ or "(no description)").partition("\nArgs:")[0].strip())
    low, top = spec.score_range
    typer.echo(f"\nscores      {low:g} to {top:g}{'' if spec.deterministic else ', not the same each time'}")
    typer.echo(f"judges      one {spec.per} a call, {_limits(verifier)}")
    typer.echo(f"needs       {', '.join(spec.requires) or 'only the response'}")
    if (why := why_it_cannot_run(verifier)) is not None:
        typer.echo(f"missing     {why}")
    typer.echo("\nparameters" if parameters else "\nparameters  none")
    for one in parameters:
        default = f" = {one['default']!r}" if "default" in one else "  (required)"
        typer.echo(f"  {one['name']}: {one['type']}{default}")
        if one["about"]:
            typer.echo(f"      {one['about']}")
    typer.echo("\ncases")
    for case in verifier.cases:
        params = f"  [{shown_params(case.params)}]" if case.params else ""
        note = f"  # {case.note}" if case.note else ""
        typer.echo(f"  {case.expect:11} {excerpt(case.response)}  gold {case.gold!r:.80}{params}{note}")


def _limits(verifier: Verifier) -> str:
    spec = verifier.spec
    if spec.isolation == "inline":
        return "in the run's own process"
    if spec.isolation == "remote":
        return f"by a service, {spec.timeout_s:g} s at most"
    where = "in a sandbox" if spec.isolation == "sandbox" else "in a process of its own"
    return f"{where}, {spec.timeout_s:g} s and {spec.memory_mib} MiB at most"


def _parameters(verifier: Verifier) -> list[dict[str, Any]]:
    docstring = inspect.cleandoc(verifier.function.__doc__ or "")
    about = {name: " ".join(text.split()) for name, text in _ARGUMENT.findall(docstring.partition("\nArgs:")[2])}
    return [
        {
            "name": name,
            "type": _type_words(field.annotation),
            **({} if field.is_required() else {"default": field.get_default(call_default_factory=True)}),
            "about": about.get(name, ""),
        }
        for name, field in verifier.parameters.model_fields.items()
    ]


def _type_words(annotation: Any) -> str:
    """Return a type as a person would write it, without the objects that pydantic keeps beside it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_words(arguments[0])
    if origin is Literal:
        return " | ".join(map(repr, arguments))
    if origin in (Union, UnionType):
        return " | ".join(_type_words(one) for one in arguments)
    if annotation is NoneType:
        return "None"
    if annotation is Ellipsis:
        return "..."
    if origin is not None:
        return f"{origin.__name__}[{', '.join(_type_words(one) for one in arguments)}]"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
