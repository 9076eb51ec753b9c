"""Bounds what a service may send: a reply is read up to a limit, and never decompressed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

LARGEST_REPLY = 64 * 2**20
"""Bytes of one reply: far above what a judge or a run of a program sends, and far below a machine's memory."""


class ReplyRefusedError(ConnectionError):
    """A reply is larger than the limit, or compressed although this was not offered."""


def bounded(largest: int = LARGEST_REPLY) -> dict[str, Any]:
    """Return arguments for an asynchronous client of httpx, or of a library derived from it, with which the client
    refuses replies of more than so many bytes.
    """

    async def bound(reply: Any) -> None:
        encoding = reply.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding != "identity":
            # A few bytes may decompress to gigabytes, and no client has to accept an encoding it did not offer.
            raise ReplyRefusedError(f"{reply.url} must not compress its reply; found Content-Encoding {encoding!r:.40}")
        reply.stream = _bounded_stream(reply, largest)

    return {"headers": {"Accept-Encoding": "identity"}, "event_hooks": {"response": [bound]}}


def _bounded_stream(reply: Any, largest: int) -> Any:
    """Return the reply's stream, which raises once it is longer than the limit."""
    library: Any = import_module(type(reply).__module__.partition(".")[0])
    stream, url = reply.stream, reply.url

    class Bounded(library.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            received = 0
            async for chunk in stream:
                received += len(chunk)
                if received > largest:
                    raise ReplyRefusedError(f"{url} must reply with at most {largest} bytes; found more")
                yield chunk

        async def aclose(self) -> None:
            await stream.aclose()

    return Bounded()
