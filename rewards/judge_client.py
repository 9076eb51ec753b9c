"""The services that verifiers call: their addresses, one connection pool each, and replies checked against a schema.

A service that does not answer, answers with an error, or answers in a way that no response could cause raises an error;
the runtime retries it and makes it an infra fault. A judge's text is returned if it fits the schema. Otherwise the
result is None, because a response may have caused that.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast
from weakref import WeakKeyDictionary

from pydantic import AfterValidator, Field

from rewards.strict_json import read_json
from rlpost.errors import RewardError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from rewards.judge_prompts import Messages

REQUEST_TIMEOUT_S = 120.0
"""Longest wait for one reply, for callers without their own deadline."""


def _endpoint(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError(
            f"must be the base URL of an OpenAI-compatible service, such as http://127.0.0.1:8000/v1; found {value!r}"
        )
    return value


def _model_name(value: str) -> str:
    if not value:
        raise ValueError("must name the model that the service serves; found nothing")
    return value


Endpoint = Annotated[str, Field(validate_default=True), AfterValidator(_endpoint)]
"""Base URL of a service. The default is empty and rejected, so that a recipe has to set it."""
ModelName = Annotated[str, Field(validate_default=True), AfterValidator(_model_name)]
"""Name of the model at the service. The default is empty and rejected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A model behind an endpoint, as given by a verifier's parameters."""

    endpoint: str
    model: str
    api_key_env: str
    """Name of the environment variable that holds the key; empty if the service needs none."""


_CLIENTS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Service, AsyncOpenAI]] = WeakKeyDictionary()
"""Clients by event loop, because a connection belongs to the loop that opened it."""


async def chosen_words(
    service: Service, messages: Messages, *, schema: Mapping[str, Any], max_tokens: int
) -> dict[str, str] | None:
    """Ask a judge; return its choices by their names in the schema, or None if the reply is not such an object.

    The whole reply must be the object; choices are never searched for in prose.

    Raises:
        As `posted`.
    """
    reply = await posted(
        service,
        "/chat/completions",
        {
            "model": service.model,
            "messages": messages,
            "temperature": 0.0,
            "max_completion_tokens": max_tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "verdict", "schema": dict(schema), "strict": True},
            },
        },
    )
    try:
        content = cast("Any", reply)["choices"][0]["message"].get("content")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ConnectionError(f"{service.endpoint} replied without a chat completion: {reply!r:.200}") from error
    return read_words(content, schema=schema) if isinstance(content, str) else None


def read_words(text: str, *, schema: Mapping[str, Any]) -> dict[str, str] | None:
    """Read the enumerated fields of a JSON text that fits a schema of `judge_prompts`; None if it does not fit."""
    parsed, problem = read_json(text)
    properties: Mapping[str, Any] = schema["properties"]
    if problem is not None or not isinstance(parsed, dict) or parsed.keys() != properties.keys():
        return None
    fields = cast("dict[str, object]", parsed)
    if not all(isinstance(value, str) for value in fields.values()):
        return None
    chosen = {name: cast("str", fields[name]) for name, rule in properties.items() if "enum" in rule}
    return chosen if all(word in properties[name]["enum"] for name, word in chosen.items()) else None


async def posted(service: Service, path: str, body: Mapping[str, Any]) -> object:
    """Send a POST to a service and return the JSON of its reply as plain data.

    Raises:
        openai.OpenAIError: the service did not answer, or answered with an error.
        ConnectionError: the reply is too large, compressed, nested too deeply, or no JSON.
    """
    from openai import APIConnectionError

    from rewards.service_replies import ReplyRefusedError

    client = _client_of(service)
    try:
        reply = await client.post(path, body=dict(body), cast_to=object)
        repr(reply)  # fails here, and not in a message, if it is nested too deeply
    except (ValueError, RecursionError) as error:
        raise ConnectionError(f"{service.endpoint}{path} replied with no JSON: {error!s:.200}") from error
    except APIConnectionError as error:
        if isinstance(error.__cause__, ReplyRefusedError):
            raise error.__cause__ from None
        raise
    return reply


def _client_of(service: Service) -> AsyncOpenAI:
    """Return the client of a service on the running event loop.

    Raises:
        RewardError: the environment variable with the key is not set.
    """
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    from rewards.service_replies import bounded

    clients = _CLIENTS.setdefault(asyncio.get_running_loop(), {})
    if service not in clients:
        key = os.environ.get(service.api_key_env) if service.api_key_env else "none"
        if not key:
            raise RewardError(
                f"api_key_env must name an environment variable that holds the key; {service.api_key_env} is not set "
                "where rewards are scored: set it there, or leave api_key_env empty for a service without keys"
            )
        # The runtime retries; a second layer of retries would multiply the delay.
        http_client = DefaultAsyncHttpxClient(timeout=REQUEST_TIMEOUT_S, **bounded())
        clients[service] = AsyncOpenAI(
            base_url=service.endpoint, api_key=key, max_retries=0, timeout=REQUEST_TIMEOUT_S, http_client=http_client
        )
    return clients[service]
