"""Drives collector, buffer and ledger by hand, so that any schedule can be played, and checks what must hold always."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from fakes import SAMPLING, FakeGenerator, FakeScorer, fake_tokens, make_prompt, never_pauses
from in_order import InOrder

from rlpost.errors import DeadlineError
from rlpost.records import Fault, Prompt, RolloutGroup, Sample, Verdict
from rlpost.rollout.buffer import RolloutBuffer
from rlpost.rollout.collector import Collector, request_seed
from rlpost.rollout.collector_thread import CollectorThread
from rlpost.rollout.dynamic_sampling import SignalFilter
from rlpost.rollout.issue_order import IssueOrder
from rlpost.rollout.ledger import PromptLedger
from rlpost.rollout.ledger_audit import SavedLedger, StageRules
from rlpost.rollout.ledger_journal import Journal, JournalLine, end_line, step_line
from rlpost.rollout.quarantine import Quarantine

STAGE = "0/rl"
PROMPTS = 11
"""Prompts come again in later epochs."""


def own_scores(group: RolloutGroup) -> list[float]:
    return [verdict.score for verdict in group.verdicts if verdict.score is not None]


@dataclass(frozen=True, kw_only=True)
class Setting:
    per_step: int
    samples: int
    bound: int
    max_refill: float | None = None
    equal_scores: bool = False
    gold_faults: bool = False
    infra_faults: bool = False


def prompt_at(index: int) -> Prompt:
    return make_prompt(index % PROMPTS)


def judge(setting: Setting) -> Callable[[Sample], Verdict]:
    """A verdict that depends on the sample alone and names it."""

    def verdict(sample: Sample) -> Verdict:
        luck = hashlib.blake2b(f"{sample.id}{sample.response}".encode(), digest_size=1).digest()[0]
        if setting.gold_faults and int(sample.id.partition("/")[2].partition("#")[0]) % 4 == 1:
            return Verdict(fault=Fault.GOLD, reason="empty", parsed=sample.id)
        if setting.infra_faults and luck % 5 == 0:
            return Verdict(fault=Fault.INFRA, reason="down", parsed=sample.id)
        return Verdict(score=1.0 if setting.equal_scores else float(luck % 2), parsed=sample.id)

    return verdict


def assert_whole(group: RolloutGroup, setting: Setting) -> None:
    """All that is in a group belongs to its prompt and to its index."""
    prompt = prompt_at(group.index)
    assert group.prompt.id == prompt.id
    key = f"{group.index}:{prompt.id}"
    assert [episode.sample for episode in group.episodes] == list(range(setting.samples))
    for episode in group.episodes:
        seed, version = request_seed(STAGE, group.index, prompt.id, episode.sample), episode.oldest_version
        (trajectory,) = episode.trajectories
        answer = fake_tokens(seed=seed, version=version, sampling=SAMPLING)
        assert trajectory.token_ids.tolist() == [*prompt.token_ids.tolist(), *answer]
        assert trajectory.trained_T.tolist() == [False] * len(prompt.token_ids) + [True] * len(answer)
    assert [verdict.parsed for verdict in group.verdicts] == [f"{key}#{sample}" for sample in range(setting.samples)]


class ManualExecutor:
    """Runs what was submitted when it is told to, in any order."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting.append((future, work))
        return future

    def run_all(self) -> None:
        while self._waiting:
            future, work = self._waiting.pop()
            assert future.set_running_or_notify_cancel()
            future.set_result(work())


class WatchedLedger(PromptLedger):
    """Tells, beside the ledger's own account, what was issued and dropped since it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.issued: list[int] = []
        self.dropped_here: dict[int, str] = {}

    def issue(self, *, version: int) -> int:
        self.issued.append(super().issue(version=version))
        return self.issued[-1]

    def drop(self, index: int, reason: str) -> None:
        super().drop(index, reason)
        self.dropped_here[index] = reason


@dataclass
class History:
    """What is done with for good. A crash goes back to the history of the last save."""

    batches: list[list[RolloutGroup]] = field(default_factory=list)
    dropped: dict[int, str] = field(default_factory=dict)

    def copy(self) -> History:
        return History(batches=list(self.batches), dropped=dict(self.dropped))

    @property
    def trained(self) -> list[int]:
        return [group.index for batch in self.batches for group in batch]


class Run:
    """A run of an RL stage, its learner being a counter. Each method is something that may happen at any time."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.history = History()
        self.journal: list[JournalLine] = []
        self.taken: tuple[str, int, History] | None = None
        """State, next step and history as the last take left them: what a save writes."""
        self.saved: tuple[str, int, History] | None = None
        self._begin(WatchedLedger(), {}, version=0)

    def _begin(self, ledger: WatchedLedger, order_state: dict[str, Any], *, version: int) -> None:
        setting = self.setting
        self.first_version = self.learner = version
        self.ledger, self.generator, self.executor = ledger, FakeGenerator(manual=True), ManualExecutor()
        self.generator.version = version
        self.earlier = dict(self.history.dropped)
        self.sampler = InOrder()
        order = IssueOrder(self.sampler)
        if order_state:
            order.load(order_state)
        self.buffer = RolloutBuffer(
            prompts_per_step=setting.per_step,
            max_staleness=setting.bound,
            version=version,
            last_version=10**6,
            ledger=ledger,
            order=order,
        )
        collector = Collector(
            self.generator,
            FakeScorer(judge(setting)),
            samples=setting.samples,
            sampling=SAMPLING,
            seed=STAGE,
            stall_timeout_s=20,
            breaker=never_pauses(),
        )
        collector._executor = self.executor
        keep = lambda group: None
        if setting.max_refill is not None:
            keep = SignalFilter(self.buffer, max_refill=setting.max_refill, scores=own_scores)
        self.thread = CollectorThread(
            collector, self.buffer, prompt_of=prompt_at, keep=keep, quarantine=Quarantine(None)
        )

    def collect(self) -> None:
        self.thread.turn(timeout_s=0)
        self.history.dropped = self.earlier | self.ledger.dropped_here
        self.check_capacity()

    def finish(self, luck: int) -> None:
        running = self.generator.running
        if running:
            rng = random.Random(luck)
            self.generator.finish(rng.sample(running, rng.randint(1, len(running))))

    def work(self, luck: int) -> None:
        self.collect()
        self.finish(luck)
        self.collect()
        self.score()
        self.collect()

    def overtake(self) -> None:
        """A step, if it comes about, during which the prompt that was issued first does not finish."""
        self.collect()
        first = min((int(key.split(":")[0]) for key, _ in self.generator.running), default=0)
        self.generator.finish([key for key in self.generator.running if not key[0].startswith(f"{first}:")])
        self.collect()
        self.score()
        self.collect()
        if self.take():
            self.pull()
            self.announce()

    def score(self) -> None:
        self.executor.run_all()

    def take(self) -> bool:
        try:
            batch = self.buffer.take(version=self.learner, timeout_s=0)
        except DeadlineError:
            return False
        assert len(batch) == self.setting.per_step
        assert [group.index for group in batch] == sorted(group.index for group in batch)
        for group in batch:
            assert_whole(group, self.setting)
            oldest = min(episode.oldest_version for episode in group.episodes)
            assert self.learner - oldest <= self.setting.bound, f"group {group.index} is too old"
        assert len(self.history.batches) == self.learner
        self.history.batches.append(batch)
        self.journal.append(step_line(self.learner, batch, self.buffer.last_taken))
        self.learner += 1
        state = {"ledger": self.buffer.last_taken.state, "order": self.buffer.last_order}
        self.taken = (json.dumps(state), self.learner, self.history.copy())
        self.check_observed()
        return True

    def pull(self) -> None:
        if self.generator.version < self.learner:
            self.generator.version += 1

    def announce(self) -> None:
        if self.buffer.version < self.generator.version:
            self.buffer.advance(self.generator.version)
            self.check_capacity()

    def save(self) -> None:
        """May come late: what has happened since the take is not in it."""
        self.check_account()
        self.saved = self.taken

    def crash(self) -> None:
        if self.saved is None:
            return
        state, version, history = self.taken = self.saved
        self.history = history.copy()
        self.journal = self.journal[:version]
        read = json.loads(state)
        self._begin(WatchedLedger.from_state(read["ledger"]), read["order"], version=version)
        finished = {*history.trained, *history.dropped}
        self.collect()
        assert not finished & set(self.ledger.issued), "what was finished is issued again"
        unfinished = [index for index in range(max(finished, default=-1) + 1) if index not in finished]
        assert self.ledger.issued[: len(unfinished)] == unfinished[: len(self.ledger.issued)], "a prompt is lost"

    def step_in_order(self) -> None:
        """One step as a loop without threads would do it."""
        before = self.learner
        for _ in range(200):
            self.collect()
            self.generator.finish()
            self.collect()
            self.score()
            self.collect()
            if self.take():
                break
        assert self.learner == before + 1, "the step is never filled"
        self.pull()
        self.announce()

    def check_capacity(self) -> None:
        kept = len(self.ledger.issued) - len(self.ledger.dropped_here)
        steps_open = self.buffer.version - self.first_version + 1 + self.setting.bound
        assert kept <= steps_open * self.setting.per_step, "more was issued than there is room for"

    def check_account(self) -> None:
        """Each index is trained, or dropped with a reason, or open, exactly once; the ledger says so too."""
        trained, dropped = self.history.trained, self.history.dropped
        assert len(trained) == len(set(trained)), "a prompt was trained twice"
        assert not set(trained) & set(dropped) and all(dropped.values())
        state, finished = self.ledger.state(), {*trained, *dropped}
        assert state["trained"] == len(trained)
        assert sum(state["dropped"].values()) == len(dropped)
        assert set(range(state["first_open"])) | set(state["finished_above"]) == finished

    def check_observed(self) -> None:
        """Right after a take: the sampler was told of each finished prompt, and of none twice."""
        observed = [index for step in self.sampler.observed for index in step]
        assert len(observed) == len(set(observed)), "the sampler was told of a group twice"
        assert len(self.sampler.observed) == self.learner
        assert all(step == sorted(step) for step in self.sampler.observed)
        assert {*self.history.trained, *self.earlier, *self.ledger.dropped_here} <= set(observed)

    def journal_so_far(self, *, ended: bool = False) -> Journal:
        """As a stage under way has it, or one that ends here."""
        lines = [*self.journal, end_line(self.learner, self.buffer.cut())] if ended else list(self.journal)
        return Journal(lines=lines, unreadable=[], is_cut_off=False)

    def rules(self) -> StageRules:
        """Of a stage that ends here."""
        return StageRules(self.learner, self.setting.per_step, self.setting.samples, self.setting.bound)

    def saved_ledger(self) -> SavedLedger | None:
        """What the newest checkpoint says."""
        if self.saved is None:
            return None
        state = json.loads(self.saved[0])["ledger"]
        del state["since_train"]
        return SavedLedger(step=self.saved[1], **state)
