"""A stand-in for the services of `rewards.code_remote`: it holds requests to their form, and runs the programs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rlpost.sandbox.limits import STANDARD
from rlpost.sandbox.programs import run_program

FUSION_FIELDS = {"code": str, "language": str, "stdin": str, "run_timeout": float, "memory_limit_MB": int}


class CodeServer(ThreadingHTTPServer):
    """What it was asked, and what it is to do wrong."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str, Any, dict[str, str]]] = []
        self.fail_with: list[tuple[int, str]] = []
        """Statuses and bodies of the next answers, before it works."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving() -> Iterator[CodeServer]:
    with CodeServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: CodeServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer("POST", body)

    def do_DELETE(self) -> None:
        self._answer("DELETE", None)

    def _answer(self, method: str, body: Any) -> None:
        self.server.asked.append((method, self.path, body, dict(self.headers)))
        status, text = self.server.fail_with.pop(0) if self.server.fail_with else self._worked(method, body)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def _worked(self, method: str, body: Any) -> tuple[int, str]:
        if method == "DELETE":
            return 204, ""
        if self.path == "/run_code":
            return _fusion(body)
        if self.path == "/sandboxes":
            return (201, json.dumps({"sandboxID": "box-1"})) if set(body) == {"templateID", "timeout"} else (400, "")
        if self.path == "/box-1/execute":
            return _cell(body)
        return 404, ""

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def _fusion(body: Any) -> tuple[int, str]:
    if {name: type(value) for name, value in body.items()} != FUSION_FIELDS or body["language"] != "python":
        return 422, json.dumps({"detail": "not a RunCodeRequest"})
    ran = run_program(body["code"], stdin=body["stdin"], limits=STANDARD)
    code = ran.ended.exit_code
    result = {
        "status": "TimeLimitExceeded" if ran.stopped == "time" else "Finished",
        "execution_time": 0.01,
        "return_code": None if ran.stopped == "time" else code,
        "stdout": ran.stdout.decode(),
        "stderr": ran.stderr.decode(),
    }
    status = "Success" if ran.is_clean else "Failed"
    return 200, json.dumps({"status": status, "message": "", "compile_result": None, "run_result": result, "files": {}})


def _cell(body: Any) -> tuple[int, str]:
    """The cell starts a process, which a guest cannot: `subprocess.run` is played by running what it was given."""
    if set(body) != {"code", "language"} or body["language"] != "python":
        return 422, ""
    stand_in = (
        "import subprocess, io, sys, contextlib\nclass Ran: pass\n"
        "def run(command, *, input, **_):\n    ran, out = Ran(), io.StringIO()\n"
        "    ran.stderr, ran.returncode = '', 0\n"
        "    sys.stdin = io.StringIO(input)\n    with contextlib.redirect_stdout(out):\n"
        "        try: exec(command[2], {'__name__': '__main__'})\n"
        "        except BaseException as error: ran.stderr, ran.returncode = repr(error), 1\n"
        "    ran.stdout = out.getvalue()\n    return ran\nsubprocess.run = run\n"
    )
    ran = run_program(stand_in + body["code"], stdin="", limits=STANDARD)
    events: list[dict[str, Any]] = [{"type": "number_of_executions", "execution_count": 1}]
    printed = ran.stdout.decode()
    events += [{"type": "stdout", "text": part, "timestamp": 1} for part in (printed[:10], printed[10:])]
    return 200, "\n".join(json.dumps(event) for event in events)
