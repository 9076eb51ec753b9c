"""The host's side of the launcher: starts guests, exchanges messages with them, and has them killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlpost.errors import SandboxError
from rlpost.sandbox.limits import Limits

START_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 30.0
"""Longest wait for the launcher to fork, or to kill and reap; it takes milliseconds unless the machine thrashes."""
PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])
_BOOT = (
    "import sys; sys.path.append(sys.argv[3]); from rlpost.sandbox.launcher_main import main; "
    "main(int(sys.argv[1]), sys.argv[2])"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """The way in which a guest ended."""

    exit_code: int
    """Exit status; a negative number is the signal that killed the guest."""
    cpu_s: float
    peak_mib: float

    def passed_time_limit(self, limits: Limits) -> bool:
        """Whether the guest used more processor time than its limit.

        The kernel counts ticks and kills at the next whole second. On a busy machine the ticks run ahead of the
        processor time that it reports afterwards. While the host waits, nothing else sends these signals.
        """
        killed = self.exit_code in (-signal.SIGKILL, -signal.SIGXCPU)
        return self.cpu_s >= limits.cpu_s or (killed and self.cpu_s >= 0.5 * limits.cpu_s)


class Launcher:
    """One launcher process. Thread-safe.

    Raises:
        SandboxError: the launcher does not start, or reports that this machine cannot contain programs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.owner_pid = os.getpid()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        place = tempfile.mkdtemp(prefix="rlpost-sandbox-")
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-S", "-s", "-P", "-c", _BOOT, str(theirs.fileno()), place, PACKAGE_PARENT],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    # It gets none of the host's secrets, and a fixed hash seed, so that equal programs behave equally.
                    env={"LANG": "C.UTF-8", "HOME": "/tmp", "TMPDIR": "/tmp", "PYTHONHASHSEED": "0"},
                )
            answer = self._answer(START_TIMEOUT_S)
        except OSError as error:
            raise SandboxError(f"the sandbox's launcher did not start: {error}") from error
        finally:
            with contextlib.suppress(OSError):  # the launcher may have left a mount when it failed
                Path(place).rmdir()
        if "refused" in answer:
            raise SandboxError(
                "model-written programs run only where they are contained, by user namespaces or by Landlock and "
                f"seccomp; this machine has {answer['refused']}; use a kernel of 5.13 or later with Landlock, allow "
                "user namespaces, or judge with a service (rewards.code_remote)"
            )
        self.fence: Mapping[str, Any] = answer["ready"]

    @property
    def process_id(self) -> int:
        """The process id of the launcher."""
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether the launcher runs and belongs to this very process, not to a process that forked this one."""
        return self.owner_pid == os.getpid() and self._process.poll() is None

    def start(self, role: str, job: Mapping[str, Any], *, limits: Limits, descriptors: Sequence[int]) -> Guest:
        """Start a new guest; `descriptors` become its standard input, output and error.

        Raises:
            SandboxError: no guest could be started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            order = json.dumps({"start": role, "limits": asdict(limits)}).encode()
            answer = self._ask(order, [*descriptors, theirs.fileno()])
        if "pid" not in answer:
            ours.close()
            raise SandboxError(f"the sandbox could not start a guest: {answer.get('error')}")
        return Guest(self, answer["pid"], ours, job, limits)

    def end(self, process_id: int) -> Ended:
        """Kill a guest that has not been ended before, and wait until it is gone.

        Raises:
            SandboxError: the launcher does not answer.
        """
        answer = self._ask(json.dumps({"end": process_id}).encode(), [])
        return Ended(exit_code=answer["exit"], cpu_s=answer["cpu_s"], peak_mib=answer["peak_mib"])

    def close(self) -> None:
        """End the launcher and all its guests."""
        self._control.close()
        self._process.kill()
        self._process.wait(ANSWER_TIMEOUT_S)
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _ask(self, order: bytes, descriptors: list[int]) -> dict[str, Any]:
        with self._lock:
            try:
                self._control.settimeout(ANSWER_TIMEOUT_S)
                socket.send_fds(self._control, [order], descriptors)
                return self._answer(ANSWER_TIMEOUT_S)
            except OSError as error:
                self._process.kill()  # otherwise a late answer would be taken for the answer to the next question
                raise SandboxError(f"the sandbox's launcher does not answer: {error}") from error

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        self._control.settimeout(timeout_s)
        text = self._control.recv(1 << 16)
        if not text:
            assert self._process.stderr is not None
            self._process.kill()
            lines = self._process.stderr.read().decode(errors="replace").splitlines()
            raise SandboxError(f"the sandbox's launcher ended: {lines[-1] if lines else 'without a word'}")
        return json.loads(text)


class Guest:
    """One confined process and the channel to it. Use it as a context manager, which kills the process at exit."""

    def __init__(
        self, launcher: Launcher, process_id: int, channel: socket.socket, job: Mapping[str, Any], limits: Limits
    ) -> None:
        self._launcher = launcher
        self.process_id = process_id
        self.descriptor = os.pidfd_open(process_id)
        """Becomes readable when the guest ends."""
        self.channel = channel
        self.limits = limits
        self.deadline = time.monotonic() + limits.wall_s
        self.ended: Ended | None = None
        self._received = bytearray()
        self.received_bytes = 0
        self._is_contained = False
        self.send(job)

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one line. A guest that is gone or does not read before its deadline is detected elsewhere."""
        self.channel.settimeout(max(0.001, self.deadline - time.monotonic()))
        with contextlib.suppress(OSError):
            self.channel.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[bytes] | None:
        """Return the lines received so far, without waiting; None if the channel is closed.

        Raises:
            SandboxError: the guest could not confine itself, so it has run nothing.
        """
        self.channel.setblocking(False)
        try:
            chunk = self.channel.recv(1 << 18)
        except BlockingIOError:
            return []
        except ConnectionError:
            chunk = b""
        if not chunk:
            return None
        self.received_bytes += len(chunk)
        self._received += chunk
        if b"\n" not in chunk:
            return []
        *lines, rest = self._received.split(b"\n")
        self._received = bytearray(rest)
        if not self._is_contained:
            self._check_contained(bytes(lines.pop(0)))
        return [bytes(line) for line in lines]

    def _check_contained(self, line: bytes) -> None:
        answer = json.loads(line)
        if "contained" not in answer:
            raise SandboxError(f"a guest could not raise its fences: {answer}")
        self._is_contained = True

    def end(self) -> Ended:
        """Kill the guest and everything that it started, and wait until all of it is gone.

        Raises:
            SandboxError: the launcher does not answer; the guest was killed nevertheless.
        """
        if self.ended is None:
            try:
                self.ended = self._launcher.end(self.process_id)
            except SandboxError:
                with contextlib.suppress(OSError):  # it is gone, or belongs to another user and dies with the launcher
                    signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)
                raise
            finally:
                os.close(self.descriptor)
                self.channel.close()
        return self.ended


_current: Launcher | None = None
_current_lock = threading.Lock()


def launcher() -> Launcher:
    """Return the launcher of this process; it starts when first needed, and again after it has ended.

    Raises:
        SandboxError: see `Launcher`.
    """
    global _current  # noqa: PLW0603 - one launcher per process, just as there is one standard output
    with _current_lock:
        if _current is None or not _current.is_usable:
            _current = Launcher()
        return _current
