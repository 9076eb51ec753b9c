"""The keyword parameters of a user's function: its signature gives types and defaults, and a recipe gives values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from rlpost.errors import InputError


def parameter_model(
    function: Callable[..., Any], *, name: str, given: Collection[str], error: type[InputError]
) -> type[BaseModel]:
    """Make a pydantic model of the parameters that a recipe may set.

    Args:
        function: A function with one positional argument and keyword-only parameters, each with a type and a default;
            or a class whose `__init__` takes only the parameters.
        name: Name of the function, for messages.
        given: Keyword arguments that rlpost passes itself, and that no recipe sets.
        error: The error class to raise.

    Raises:
        InputError: the signature does not have that form.
    """
    try:
        signature = inspect.signature(function.__init__ if inspect.isclass(function) else function, eval_str=True)
    except NameError as problem:
        raise error(
            f"the types in the signature of {name} must be known when it is loaded; found {problem}: import them "
            "outside of `if TYPE_CHECKING:`"
        ) from problem
    if not signature.parameters:
        raise error(f"{name} must take one positional argument; found no parameter: see the guide for its form")
    first, *keywords = signature.parameters.values()
    fields: dict[str, tuple[Any, Any]] = {}
    for parameter in keywords:
        if parameter.name in given:
            continue
        typed = parameter.annotation is not parameter.empty and parameter.default is not parameter.empty
        if parameter.kind is not parameter.KEYWORD_ONLY or not typed:
            raise error(
                f"every parameter of {name} after `{first.name}` must be keyword-only with a type and a default; "
                f"found `{parameter}`: write `*, {parameter.name}: <type> = <default>`"
            )
        fields[parameter.name] = (parameter.annotation, parameter.default)
    config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
    return create_model(f"{name} parameters", __config__=config, **cast("Any", fields))


def validated(
    parameters: type[BaseModel], params: Mapping[str, Any], *, name: str, error: type[InputError]
) -> dict[str, Any]:
    """Check the types of the given parameters and fill in the defaults of the others.

    Raises:
        InputError: a parameter does not exist or has the wrong type.
    """
    known = parameters.model_fields
    for key in params:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it takes {', '.join(known) or 'none'}"
            raise error(f"{name} has no parameter `{key}`: {hint}")
    try:
        model = parameters.model_validate(dict(params))
    except ValidationError as problem:
        details = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in problem.errors())
        raise error(f"parameters of {name} do not fit: {details}") from problem
    return {key: getattr(model, key) for key in known}
