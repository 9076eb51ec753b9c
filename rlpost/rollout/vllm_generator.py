"""A generator of one vLLM engine, which runs on its own thread in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rlpost.engine_records import EngineLoad, WeightManifest, WeightReceipt
from rlpost.errors import ClusterError, DataError, WeightSyncError
from rlpost.platform.idle_threads import rarely_waking
from rlpost.records import Completion, GenerationRequest
from rlpost.rollout.vllm_engine import Submission, VllmEngine
from rlpost.rollout.vllm_settings import engine_arguments, require_engine_environment
from rlpost.settings import EngineSettings


@dataclass(kw_only=True, slots=True)
class _Pull:
    """Weights to load, and the outcome."""

    manifest: WeightManifest
    keep_kv_cache: bool
    outcome: WeightReceipt | WeightSyncError | None = None


@dataclass(kw_only=True, slots=True)
class _Abandon:
    """A command to drop all earlier requests."""

    done: bool = False


_Command = Submission | _Pull | _Abandon


class VllmGenerator:
    """A `Generator` with one engine. All methods are thread-safe.

    Only one thread builds, steps and updates the engine. Callers queue commands, which that thread carries out in order
    between two steps; so a weight update never meets a running forward pass.

    A failure of the engine is permanent: every later call raises a `ClusterError` with the cause.

    Log-probabilities refer to the distribution that was sampled from. At temperature 0, where that distribution has
    only one token, they are those of temperature 1.
    """

    def __init__(self, settings: EngineSettings, *, name: str) -> None:
        """Start the engine and wait until it serves; `name` appears on receipts and in errors.

        Raises:
            ClusterError: the process environment is not suitable for an engine, or the engine did not start.
        """
        require_engine_environment()
        self._name, self._max_length = name, settings.max_length
        self._changed = threading.Condition()  # Guards the fields below; notified whenever one of them changes.
        self._commands: list[_Command] = []
        self._finished: list[Completion] = []
        self._load: EngineLoad | None = None
        self._serving = self._closing = False
        self._failure: Exception | None = None
        version = settings.weight_version
        self._start(lambda: VllmEngine(engine_arguments(settings), name=name, weight_version=version))

    def _start(self, build: Callable[[], VllmEngine]) -> None:
        """Let the engine's thread build it, and wait until it serves."""
        self._thread = threading.Thread(target=self._run, args=(build,), name=f"engine {self._name}", daemon=True)
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._serving or self._failure)
            self._raise_if_failed()

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """Start all of these requests, or none of them, and return at once.

        Raises:
            DataError: a prompt is empty or leaves no room for a response.
            ClusterError: the engine has failed.
        """
        for request in requests:
            length = len(request.prompt_token_ids)
            if not 0 < length < self._max_length:
                raise DataError(
                    f"a prompt must have 1 to {self._max_length - 1} tokens, so that a response fits into "
                    f"{self._max_length}; prompt {request.key[0]!r} has {length}: shorten it or raise model.max_length"
                )
        now = time.monotonic()
        self._leave([Submission(request=request, arrival_s=now) for request in requests])

    def poll(self, timeout_s: float) -> list[Completion]:
        """Return all completions finished since the last call; wait up to `timeout_s` for the first one.

        Raises:
            ClusterError: the engine has failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._finished or self._failure, timeout=timeout_s)
            self._raise_if_failed()
            finished, self._finished = self._finished, []
        return finished

    def pull_weights(self, manifest: WeightManifest, *, keep_kv_cache: bool) -> list[WeightReceipt]:
        """Load the published weights, and return when the engine serves them.

        Requests in flight continue with the new weights: their keys and values are recomputed from their tokens, or
        kept (`keep_kv_cache`). With an adapter, they end with the one that they began with.

        Raises:
            WeightSyncError: the file differs from the manifest; the engine continues with its previous weights.
            ClusterError: the engine has failed.
        """
        pull = _Pull(manifest=manifest, keep_kv_cache=keep_kv_cache)
        self._leave([pull])
        with self._changed:
            self._changed.wait_for(lambda: pull.outcome or self._failure or self._closing)
            if isinstance(pull.outcome, WeightSyncError):
                raise pull.outcome
            if pull.outcome is None:
                self._raise_if_failed()
                raise ClusterError(f"generator {self._name} was closed while it pulled weights {manifest.version}")
            return [pull.outcome]

    def abandon(self) -> None:
        """Drop all requests, including their tokens so far.

        Raises:
            ClusterError: the engine has failed.
        """
        abandon = _Abandon()
        self._leave([abandon])
        with self._changed:
            self._changed.wait_for(lambda: abandon.done or self._failure or self._closing)
            self._raise_if_failed()

    def loads(self) -> list[EngineLoad]:
        """Return the load after the engine's last step or update, plus the requests submitted since.

        Raises:
            ClusterError: the engine has failed.
        """
        with self._changed:
            self._raise_if_failed()
            assert self._load is not None, "an engine that serves has said how it is"
            submitted = sum(isinstance(command, Submission) for command in self._commands)
            return [replace(self._load, waiting=self._load.waiting + submitted)]

    def close(self) -> None:
        """Stop the engine and free its memory; requests in flight are lost. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _leave(self, commands: Sequence[_Command]) -> None:
        """Queue commands for the engine's thread, which takes them after its current step."""
        with self._changed:
            self._raise_if_failed()
            assert not self._closing, f"generator {self._name} was used after close()"
            self._commands.extend(commands)
            self._changed.notify_all()

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            cause = f"{type(self._failure).__name__}: {self._failure}"
            raise ClusterError(f"the engine of generator {self._name} has failed: {cause}") from self._failure

    # From here on: what the engine's thread does.

    def _run(self, start: Callable[[], VllmEngine]) -> None:
        """Build the engine and serve until closed; a failure is stored where every caller checks for it."""
        try:
            with rarely_waking():
                engine = start()
            with self._changed:
                self._serving = True
                self._load = engine.load()
                self._changed.notify_all()
            while (commands := self._next_commands(engine)) is not None:
                for command in commands:
                    self._carry_out(command, engine)
                self._advance(engine)
            engine.shutdown()
        except Exception as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _next_commands(self, engine: VllmEngine) -> list[_Command] | None:
        """Return the commands that have arrived; wait for one while the engine is idle. None when closing."""
        with self._changed:
            self._changed.wait_for(lambda: engine.busy or self._commands or self._closing)
            commands, self._commands = self._commands, []
            return None if self._closing else commands

    def _carry_out(self, command: _Command, engine: VllmEngine) -> None:
        if isinstance(command, Submission):
            engine.add(command)
            return
        if isinstance(command, _Abandon):
            engine.abandon()
            with self._changed:
                self._finished.clear()
                self._load, command.done = engine.load(), True
                self._changed.notify_all()
            return
        try:
            outcome = engine.pull_weights(command.manifest, keep_kv_cache=command.keep_kv_cache)
        except WeightSyncError as refusal:
            outcome = refusal
        with self._changed:
            command.outcome = outcome
            self._load = engine.load()
            self._changed.notify_all()

    def _advance(self, engine: VllmEngine) -> None:
        if engine.busy:
            completions = engine.step()
            with self._changed:
                self._load = engine.load()
                if completions:
                    self._finished.extend(completions)
                    self._changed.notify_all()
