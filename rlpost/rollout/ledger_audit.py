"""Checks whether a stage's journal accounts for every prompt.

The rules are written once, in the findings below; a journal without findings has lost no prompt and trained none twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple

from rlpost.rollout.ledger_journal import Journal, JournalLine

_NAMED = 10
"""Most indices that a finding names."""
_NONE = "none"


class StageRules(NamedTuple):
    """The rules that the recipe sets for a stage."""

    steps: int
    prompts_per_step: int
    samples_per_prompt: int
    max_staleness: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedLedger:
    """The content of a checkpoint: the state of `PromptLedger` after `step` steps."""

    step: int
    first_open: int
    finished_above: tuple[int, ...]
    trained: int
    dropped: dict[str, int]


class Finding(NamedTuple):
    """A rule that does not hold."""

    where: str
    rule: str
    found: str

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}; found {self.found}"


@dataclass(slots=True)
class LedgerAudit:
    """The totals of a journal, and its findings."""

    steps: int = 0
    trained: int = 0
    samples: int = 0
    dropped: Counter[str] = field(default_factory=Counter[str])
    """Reason -> number of prompts."""
    open: int = 0
    """Number of prompts that are issued and neither trained nor dropped."""
    findings: list[Finding] = field(default_factory=list[Finding])


def audit(journal: Journal, rules: StageRules, *, is_finished: bool) -> LedgerAudit:
    """Check a stage's journal against its rules; the journal of a running stage may stop anywhere."""
    auditor = _Auditor(rules)
    for text in journal.unreadable:
        where, _, why = text.partition(": ")
        auditor.find(where, "a line can be read", why)
    for line in journal.lines:
        auditor.read(line)
    if is_finished or auditor.ended is not None:
        auditor.end(journal)
    return auditor.result


def compare(journal: Journal, saved: SavedLedger) -> list[Finding]:
    """Compare a checkpoint with the lines before its step."""
    lines = [line for line in journal.lines if line.step < saved.step and line.ended is None]
    finished = {group.place for line in lines for group in line.trained}
    finished |= {prompt.place for line in lines for prompt in line.dropped}
    reasons = Counter(prompt.reason for line in lines for prompt in line.dropped)
    above = set(saved.finished_above)
    here_alone = (index for index in chain(range(saved.first_open), sorted(above)) if index not in finished)
    there_alone = (index for index in sorted(finished) if index >= saved.first_open and index not in above)
    pairs = [
        ("steps", saved.step, len(lines)),
        ("prompts trained", saved.trained, sum(len(line.trained) for line in lines)),
        ("prompts dropped", saved.dropped, dict(reasons)),
        ("prompts done with that the other has open", _named(here_alone), _named(there_alone)),
    ]
    where, rule = f"the checkpoint of step {saved.step}", "it and the lines before it say the same"
    differing = [(what, here, there) for what, here, there in pairs if here != there]
    return [Finding(where, rule, f"{what}: {here} in it, {there} in the lines") for what, here, there in differing]


class _Auditor:
    """Checks a journal line by line."""

    def __init__(self, rules: StageRules) -> None:
        self._rules = rules
        self._finished: dict[int, str] = {}
        """Index -> its outcome."""
        self._issued = 0
        self._too_many_open = False
        self.ended: JournalLine | None = None
        """The stage's last line."""
        self.result = LedgerAudit()

    def find(self, where: str, rule: str, found: str) -> None:
        """Record a rule that does not hold."""
        self.result.findings.append(Finding(where, rule, found))

    def read(self, line: JournalLine) -> None:
        """Check the next line."""
        where = f"step {line.step}"
        if self.ended is not None:
            self.find(where, "nothing comes after the stage's end", "another line")
        if line.step != self.result.steps:
            self.find(where, "steps follow each other from 0", f"step {line.step} in place of {self.result.steps}")
        if line.issued < self._issued:
            self.find(where, "what is issued stays so", f"{line.issued} prompts issued after {self._issued}")
        self._issued = max(self._issued, line.issued)
        self._read_trained(line, where)
        fate = f"dropped in step {line.step}"
        for prompt in line.dropped:
            if not prompt.reason:
                self.find(where, "a prompt is dropped with a reason", f"none for prompt {prompt.place}")
            self.result.dropped[prompt.reason] += 1
            self._finish(prompt.place, fate, where)
        self.result.open = self._issued - len(self._finished)
        if line.ended is None:
            self.result.steps = line.step + 1
            self._check_open(where)
        else:
            self.ended = line

    def end(self, journal: Journal) -> None:
        """Check the end of a finished stage."""
        steps, ended = self._rules.steps, self.ended
        if journal.is_cut_off:
            self.find("the last line", "a finished stage has whole lines", "one that is cut off")
        if self.result.steps != steps:
            self.find("the end", f"a finished stage has {steps} steps", str(self.result.steps))
        if ended is None:
            self.find("the end", "a finished stage says what was open at its end", "no such line")
            return
        named = {prompt.place for prompt in ended.ended or ()}
        lost = _named(index for index in self._unfinished() if index not in named)
        if lost != _NONE:
            self.find("the end", "every prompt is trained, dropped, or named as open at the end", f"lost: {lost}")
        for prompt in ended.ended or ():
            if not prompt.reason:
                self.find("the end", "a prompt stays open with a reason", f"none for prompt {prompt.place}")
            self._finish(prompt.place, "open at the end", "the end")

    def _read_trained(self, line: JournalLine, where: str) -> None:
        rules = self._rules
        wanted, fate = rules.prompts_per_step if line.ended is None else 0, f"trained in step {line.step}"
        if len(line.trained) != wanted:
            self.find(where, f"a step trains {wanted} prompts", str(len(line.trained)))
        for group in line.trained:
            name = f"prompt {group.place} ({group.prompt})"
            if group.samples != rules.samples_per_prompt:
                self.find(where, f"a prompt has {rules.samples_per_prompt} samples", f"{group.samples} of {name}")
            age = line.step - group.oldest_version
            if not 0 <= age <= rules.max_staleness:
                self.find(where, f"a token is 0 to {rules.max_staleness} versions old", f"{age} in {name}")
            self.result.trained += 1
            self.result.samples += group.samples
            self._finish(group.place, fate, where)

    def _finish(self, index: int, fate: str, where: str) -> None:
        if index in self._finished:
            self.find(
                where, "a prompt is trained or dropped once", f"prompt {index} {self._finished[index]}, and {fate}"
            )
        self._finished[index] = fate
        if not 0 <= index < self._issued:
            self.find(where, f"a prompt was issued: its index is below {self._issued}", f"prompt {index} {fate}")

    def _check_open(self, where: str) -> None:
        """Check the number of open prompts: the buffer issues at most `max_staleness` steps ahead, so a lost prompt
        shows here.
        """
        most = self._rules.max_staleness * self._rules.prompts_per_step
        if self.result.open > most and not self._too_many_open:
            self._too_many_open = True
            found = f"{self.result.open}: {_named(self._unfinished())}"
            self.find(where, f"at most {most} prompts are open after a step", found)

    def _unfinished(self) -> Iterator[int]:
        """Yield open indices in order, one by one, because a number that was altered on disk may be huge."""
        return (index for index in range(self._issued) if index not in self._finished)


def _named(indices: Iterable[int]) -> str:
    """Format the first few indices."""
    first = list(islice(indices, _NAMED + 1))
    return (", ".join(map(str, first[:_NAMED])) + (" ..." if len(first) > _NAMED else "")) or _NONE
