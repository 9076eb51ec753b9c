"""Processes that render chunks of rows. Each opens the source and the tokenizer itself; rows never travel.

A worker reads one line of JSON that says what to open, then a line for each chunk, and answers with a line once the
chunk is in its file. It ends when its input ends, so that no worker outlives the run.
"""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import IO, Any

import numpy as np

from rlpost.data.token_files.chunk import Chunk
from rlpost.errors import DataError, ModelError, RlpostError

CHUNK_TIMEOUT_S = 900.0
"""A worker that needs longer for one chunk is assumed to hang, for example in a template that never ends."""
_ERRORS: Mapping[str, type[RlpostError]] = {"DataError": DataError, "ModelError": ModelError}


class ChunkWorkers:
    """Worker processes for one data set, to be used in a with-block.

    Args:
        opens: What a worker opens, as plain data; see `worker_main.Opened`.
        count: Number of processes.
    """

    def __init__(self, opens: Mapping[str, Any], *, count: int) -> None:
        self._opens, self._count = opens, count
        self._free: queue.Queue[_Worker] = queue.Queue()
        self._workers: list[_Worker] = []

    def __enter__(self) -> ChunkWorkers:
        """Start the processes."""
        self._folder = TemporaryDirectory(prefix="rlpost-tokens-")
        self._threads = ThreadPoolExecutor(self._count, thread_name_prefix="token-chunks")
        self._workers = [_Worker(self._opens) for _ in range(self._count)]
        for worker in self._workers:
            self._free.put(worker)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.end()
        self._threads.shutdown(cancel_futures=True)
        self._folder.cleanup()

    def chunks(self, spans: Sequence[range]) -> Iterator[Chunk]:
        """Yield the chunk of each span, in order; a few spans are rendered ahead.

        Raises:
            DataError, ModelError: as a worker raised it, or a worker ended or hung.
        """
        waiting: deque[Future[Chunk]] = deque()
        left = iter(spans)
        for span in left:
            waiting.append(self._threads.submit(self._chunk, span))
            if len(waiting) > self._count + 1:
                yield waiting.popleft().result(timeout=CHUNK_TIMEOUT_S * 2)
        while waiting:
            yield waiting.popleft().result(timeout=CHUNK_TIMEOUT_S * 2)

    def _chunk(self, span: range) -> Chunk:
        worker = self._free.get(timeout=CHUNK_TIMEOUT_S)
        path = Path(self._folder.name) / f"{span.start}.npz"
        try:
            worker.render(span, path)
            with np.load(path, allow_pickle=False) as stored:
                return Chunk(**{name: stored[name] for name in Chunk._fields})
        finally:
            path.unlink(missing_ok=True)
            self._free.put(worker)


class _Worker:
    def __init__(self, opens: Mapping[str, Any]) -> None:
        # One thread each: the processes themselves use the cores.
        one_thread = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rlpost.data.token_files.worker_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **one_thread},
            text=True,
        )
        self._send(opens)

    def render(self, span: range, path: Path) -> None:
        self._send([span.start, span.stop, str(path)])
        ready, _, _ = select.select([self._output], [], [], CHUNK_TIMEOUT_S)
        if not ready:
            self._process.kill()
            raise DataError(
                f"rows {span.start} to {span.stop} must be rendered within {CHUNK_TIMEOUT_S:g} s; the chat template "
                "or a row never ends: look at these rows with `rlpost data show`"
            )
        line = self._output.readline()
        if not line:
            raise DataError(
                f"a process that renders rows must live until they are done; it ended with code {self._process.wait()} "
                f"at rows {span.start} to {span.stop}: is there enough memory? Start the same command again"
            )
        answer: dict[str, str] = json.loads(line)
        if answer["error"]:
            raise _ERRORS[answer["kind"]](answer["error"])

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @property
    def _output(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # The reading of its answer finds out that it ended, and with which code.
