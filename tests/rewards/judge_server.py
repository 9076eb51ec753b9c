"""A stand-in of a judging service on loopback: it checks what it is asked, and answers honestly, or as it is told."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
_FENCE = re.compile(
    r"<<<(?P<name>[A-Z ]+) (?P<nonce>[0-9a-f]{32})>>>\n(?P<text>.*?)\n<<<END (?P=name) (?P=nonce)>>>", re.DOTALL
)
_CRITERION = re.compile(r'^c(\d+)\. .*?"([^"]+)"', re.MULTILINE)


@dataclass
class Reply:
    """What the service sends: a status and a body, as bytes or as JSON, after a while."""

    body: Any
    status: int = 200
    content_type: str = "application/json"
    delay_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class JudgeServer:
    """Use it as a context manager; `answer` makes the content of a chat completion, or a whole `Reply`."""

    answer: Callable[[Body], str | Reply | None]
    key: str = "none"
    bodies: list[Body] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __enter__(self) -> JudgeServer:
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        assert self.problems == []

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def params(self) -> dict[str, Any]:
        return {"endpoint": f"{self.root}/v1", "model": "fake"}


def fenced(body: Body) -> dict[str, str]:
    """The sections of a request by name."""
    return {match["name"]: match["text"] for match in _FENCE.finditer(body["messages"][1]["content"])}


def nonce_of(body: Body) -> str:
    match = _FENCE.search(body["messages"][1]["content"])
    assert match is not None
    return match["nonce"]


def honest(body: Body) -> str:
    """Criteria are met by the word that they quote; of two answers the one with Paris in it is better."""
    sections = fenced(body)
    names = body["response_format"]["json_schema"]["schema"]["properties"]
    reply = {"reasoning": "10/10"} if "reasoning" in names else {}
    if "better" in names:
        first, second = ("Paris" in sections[f"{name} ANSWER"] for name in ("FIRST", "SECOND"))
        return json.dumps(reply | {"better": "tie" if first == second else "first" if first else "second"})
    for number, word in _CRITERION.findall(body["messages"][1]["content"]):
        reply[f"c{number}"] = "met" if word in sections["ANSWER"] else "not_met"
    return json.dumps(reply)


def problems_of_chat(body: Body) -> list[str]:
    """What is wrong with a request; empty when it holds what judges are promised."""
    [system, user] = body["messages"]
    nonce, sections = nonce_of(body), fenced(body)
    schema = body["response_format"]["json_schema"]["schema"]
    checks = {
        "roles": (system["role"], user["role"]) == ("system", "user"),
        "nonce only in its own markers": user["content"].count(nonce) == 1 + 2 * len(sections),
        "nonce not in the rules": nonce not in system["content"],
        "schema": body["response_format"]["type"] == "json_schema"
        and schema["additionalProperties"] is False
        and schema["required"] == list(schema["properties"]),
        "temperature": body["temperature"] == 0,
        "no chat marks": not re.search(r"<\||\|>|\[/?INST\]|</s>", user["content"]),
        "no invisible characters": not re.search(
            "[\u200b-\u200f\u202a-\u202e\U000e0000-\U000e007f\0]", user["content"]
        ),
    }
    return [name for name, holds in checks.items() if not holds]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # the default of 5 resets connections when many calls come at once


def _handler_of(judge: JudgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            body = json.loads(raw)
            if self.headers["Authorization"] != f"Bearer {judge.key}":
                judge.problems.append(f"authorization {self.headers['Authorization']}")
            if judge.key != "none" and judge.key.encode() in raw:
                judge.problems.append("the key stands in the request")
            if self.path.endswith("/chat/completions"):
                judge.problems.extend(problems_of_chat(body))
            judge.bodies.append(body)
            judge.paths.append(self.path)
            self._send(judge.answer(body))

        def _send(self, answer: str | Reply | None) -> None:
            if not isinstance(answer, Reply):
                choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}
                answer = Reply(
                    {"id": "1", "object": "chat.completion", "created": 0, "model": "fake", "choices": [choice]}
                )
            time.sleep(answer.delay_s)
            data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            try:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(data)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # the caller's deadline passed

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
