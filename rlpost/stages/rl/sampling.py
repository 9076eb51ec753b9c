"""The rollout side of an RL stage: a collector that keeps the buffer full while the learner works, and the canary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from rlpost.data.samplers import SampledRows, sampler_of
from rlpost.engine_records import PublishReport
from rlpost.interfaces import Learner
from rlpost.recipe.stages import GrpoStage, PpoStage
from rlpost.records import Fault, RolloutGroup
from rlpost.rollout.buffer import RolloutBuffer
from rlpost.rollout.canary import ParityGap, check_parity
from rlpost.rollout.collector_thread import CollectorThread
from rlpost.rollout.dynamic_sampling import SignalFilter
from rlpost.rollout.faults import lost_to_infra, refuse_if_nothing_was_judged
from rlpost.rollout.issue_order import IssueOrder
from rlpost.rollout.ledger import PromptLedger
from rlpost.rollout.ledger_journal import LedgerJournal
from rlpost.rollout.quarantine import Quarantine
from rlpost.stages.context import StageContext
from rlpost.stages.rl.scores import shaped_scores
from rlpost.telemetry.waits import result_of

_CANARY_SAMPLES = 8
_PROBE_EVERY = 10
"""Number of versions between two probes, if no group of a step was sampled with the learner's own version."""
_PROBE_TOKENS = 4


class Rollouts:
    """Provides scored groups for one stage, during a with-block. A resumed stage starts from `state`."""

    def __init__(
        self, context: StageContext, stage: GrpoStage | PpoStage, *, version: int, state: dict[str, Any] | None
    ) -> None:
        self._stage = stage
        self._timeout_s = context.cluster.step_timeout_s
        # The coarser of the two formats decides how far generator and learner may be apart.
        self._dtype = stage.learner.compute_dtype if context.recipe.model.dtype == "float32" else "bfloat16"
        found = context.data.prompts(stage.data, stage=stage.name, max_tokens=stage.sampling.max_tokens)
        self._prompts, self._row_ids = found
        self._buffer = RolloutBuffer(
            prompts_per_step=stage.prompts_per_step,
            max_staleness=stage.max_staleness,
            version=version,
            last_version=stage.steps,
            ledger=PromptLedger() if state is None else PromptLedger.from_state(state["ledger"]),
            order=self._order(None if state is None else state["order"], seed=context.recipe.seed),
        )
        self._filter = None
        if stage.refill is not None:
            scores = partial(shaped_scores, stage=stage)
            self._filter = SignalFilter(self._buffer, max_refill=stage.refill.max_refill, scores=scores)
        self._quarantine = Quarantine(context.directory)
        collector = context.collector(
            samples=stage.samples_per_prompt, sampling=stage.sampling.sampling(context.data.format.stop_token_ids)
        )
        self._counts, self._faults_told, self._scoring_told_s = collector, Counter[Fault](), 0.0
        self._collector = CollectorThread(
            collector,
            self._buffer,
            prompt_of=self._prompts.__getitem__,
            keep=self._why_dropped,
            quarantine=self._quarantine,
        )
        self._journal = LedgerJournal(context.directory, first_step=version)
        self._first_version = version

    def __enter__(self) -> Rollouts:
        self._collector.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._collector.stop()
        if error is None:
            self._journal.end(self._buffer.cut())
        self._journal.close()

    def state(self) -> dict[str, Any]:
        """Return plain data for the checkpoint of the last `take`'s step: the finished prompts, and the order of the
        rest.
        """
        return {"ledger": self._buffer.last_taken.state, "order": self._buffer.last_order}

    def fault_metrics(self) -> dict[str, float]:
        """Return the rows set aside so far, and the faults since the last call, including those of dropped groups."""
        now = Counter(self._counts.faults)
        new = {f"faults/{fault.value}": float(now[fault] - self._faults_told[fault]) for fault in Fault}
        self._faults_told = now
        return {"quarantined": float(len(self._quarantine)), **new}

    def scoring_s(self) -> float:
        """Return the seconds spent in the scorer since the last call."""
        now_s = self._counts.scoring_s
        new_s, self._scoring_told_s = now_s - self._scoring_told_s, now_s
        return new_s

    def take(self, *, version: int) -> list[RolloutGroup]:
        """Return the groups of the next step; none of their tokens is older than the stage allows at the learner's
        version.

        When this returns, the ledger on disk has them as handed to the learner.

        Raises:
            RewardError: none of their samples was judged.
        """
        groups = self._buffer.take(version=version, timeout_s=self._timeout_s)
        self._journal.write(version, groups, self._buffer.last_taken)
        refuse_if_nothing_was_judged(groups)
        return groups

    def on_published(self, publishing: Future[PublishReport], *, version: int) -> None:
        """Open room for prompts of this version as soon as every engine holds it; a failed sync ends the next take."""

        def tell_buffer(published: Future[PublishReport]) -> None:
            error = published.exception()
            if error is None:
                self._buffer.advance(version)
            else:
                self._buffer.fail(error)

        publishing.add_done_callback(tell_buffer)

    def check_parity(
        self, groups: Sequence[RolloutGroup], learner: Learner, publishing: Future[PublishReport], *, version: int
    ) -> ParityGap | None:
        """Compare generator and learner on groups that were sampled with the learner's own weights throughout.

        All groups of a synchronous step are such groups. If the step has none, the engines are asked for a few short
        responses, at the first version and every tenth after it; in between, the checksums of the weights must do.
        Returns None if nothing was compared.

        Raises:
            ParityError: they disagree.
        """
        fresh = [group for group in groups if group.oldest_version == version]
        if not fresh:
            if (version - self._first_version) % _PROBE_EVERY:
                return None
            result_of(publishing, f"weights {version} at every engine", timeout_s=self._timeout_s)
            answers = self._collector.probe(self._prompts[:_CANARY_SAMPLES], max_tokens=_PROBE_TOKENS)
            fresh = result_of(answers, "responses for the parity canary", timeout_s=self._timeout_s)
        return check_parity(
            fresh,
            learner,
            temperature=self._stage.sampling.temperature,
            tolerance=self._stage.parity_tolerance,
            dtype=self._dtype or "float32",
            samples=_CANARY_SAMPLES,
        )

    def _why_dropped(self, group: RolloutGroup) -> str | None:
        return lost_to_infra(group) or (None if self._filter is None else self._filter(group))

    def _order(self, state: dict[str, Any] | None, *, seed: int) -> IssueOrder:
        rows, per_step = SampledRows(self._row_ids), self._stage.prompts_per_step
        order = IssueOrder(sampler_of(self._stage.sampler, rows, seed=seed, rows_per_step=per_step))
        if state is not None:
            order.load(state)
        return order
