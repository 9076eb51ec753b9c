"""Runs one whole program, from its standard input to its output."""

from __future__ import annotations

import os
import selectors
import time
from dataclasses import dataclass
from typing import Literal

from rlpost.sandbox.host import Ended, Guest, launcher
from rlpost.sandbox.limits import Limits

Stopped = Literal["", "time", "memory", "output", "signal"]
"""The reason why a guest did not end normally; empty if it did. `signal`: it crashed."""
STDERR_KEPT = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """The outcome of running a program."""

    stdout: bytes
    """Standard output, up to the output limit."""
    stderr: bytes
    """The first 64 KiB of standard error."""
    stopped: Stopped
    ended: Ended

    @property
    def is_clean(self) -> bool:
        """Whether it ended by itself with exit status 0."""
        return not self.stopped and self.ended.exit_code == 0


def run_program(program: str, *, stdin: str, limits: Limits) -> Ran:
    """Run a program as `__main__` in a fresh, contained interpreter, and wait for its end.

    Output is read while the program runs, so that a full pipe never makes it miss its time limit.

    Raises:
        SandboxError: the sandbox cannot run anything; the program is not to blame.
    """
    pipes = [os.pipe() for _ in range(3)]
    (stdin_read, stdin_write), (stdout_read, stdout_write), (stderr_read, stderr_write) = pipes
    theirs, ours = (stdin_read, stdout_write, stderr_write), (stdin_write, stdout_read, stderr_read)
    try:
        try:
            guest = launcher().start("program", {"program": program}, limits=limits, descriptors=theirs)
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        with guest:
            flow = _Flow(guest, ours, stdin.encode(errors="surrogateescape"))
            stopped = flow.run()
            ended = guest.end()
    finally:
        for descriptor in ours:
            os.close(descriptor)
    stdout, stderr = bytes(flow.stdout), bytes(flow.stderr)
    return Ran(stdout=stdout, stderr=stderr, stopped=stopped or _why(ended, stderr, limits), ended=ended)


def _why(ended: Ended, stderr: bytes, limits: Limits) -> Stopped:
    if ended.passed_time_limit(limits):
        return "time"
    if ended.exit_code < 0:
        return "signal"
    ran_out = ended.exit_code != 0 and b"MemoryError" in stderr[-2000:]
    return "memory" if ran_out else ""


class _Flow:
    """The three standard streams of one guest, until the guest ends or must be killed."""

    def __init__(self, guest: Guest, descriptors: tuple[int, int, int], stdin: bytes) -> None:
        self._guest = guest
        self._stdin, self._stdout, self._stderr = descriptors
        self._waiting = memoryview(stdin)
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._selector = selectors.DefaultSelector()
        self._output_bytes = 0

    def run(self) -> Stopped:
        """Transfer data until the guest ends. Return the reason why it must be killed; empty if it ended by itself."""
        with self._selector as selector:
            for descriptor in (self._stdin, self._stdout, self._stderr):
                os.set_blocking(descriptor, False)
            selector.register(self._stdin, selectors.EVENT_WRITE)
            selector.register(self._stdout, selectors.EVENT_READ)
            selector.register(self._stderr, selectors.EVENT_READ)
            selector.register(self._guest.channel, selectors.EVENT_READ)
            selector.register(self._guest.descriptor, selectors.EVENT_READ)
            while True:
                remaining = self._guest.deadline - time.monotonic()
                ready = {key.fd for key, _ in selector.select(max(0.0, remaining))}
                if remaining <= 0:
                    return "time"
                if not self._serve(ready):
                    return "output"
                if self._guest.descriptor in ready:
                    return "" if self._drain() else "output"

    def _serve(self, ready: set[int]) -> bool:
        """Transfer the available data; return False once the output has reached its limit."""
        channel = self._guest.channel
        if channel.fileno() in ready and self._guest.receive() is None:
            self._selector.unregister(channel)
        if self._stdin in ready:
            self._feed()
        if self._stdout in ready:
            self._read(self._stdout, self.stdout, most=self._guest.limits.output_bytes)
        if self._stderr in ready:
            self._read(self._stderr, self.stderr, most=STDERR_KEPT)
        return self._output_bytes <= self._guest.limits.output_bytes

    def _feed(self) -> None:
        try:
            written = os.write(self._stdin, self._waiting[: 1 << 16]) if self._waiting else 0
        except BlockingIOError:
            return
        except BrokenPipeError:  # the program has closed its standard input, as it may
            written = len(self._waiting)
        self._waiting = self._waiting[written:]
        if not self._waiting:
            self._selector.unregister(self._stdin)
            # The descriptor is redirected to /dev/null, so that the caller can close all three in the same way.
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(null, self._stdin, inheritable=False)
            os.close(null)

    def _read(self, descriptor: int, kept: bytearray, *, most: int) -> bool:
        """Read once, and return whether more data may follow."""
        try:
            chunk = os.read(descriptor, 1 << 18)
        except BlockingIOError:
            return False
        if not chunk:
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
            return False
        self._output_bytes += len(chunk)
        kept += chunk[: max(0, most - len(kept))]
        return True

    def _drain(self) -> bool:
        """Read the remaining data after the end; return False if it exceeds the limit."""
        while self._output_bytes <= self._guest.limits.output_bytes:
            more = [
                self._read(self._stdout, self.stdout, most=self._guest.limits.output_bytes),
                self._read(self._stderr, self.stderr, most=STDERR_KEPT),
            ]
            if not any(more):
                return True
        return False
