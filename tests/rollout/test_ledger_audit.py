"""Each way to spoil a journal that holds is found, at every place, and told as what it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import pytest
from rollout_driver import Run, Setting

from rlpost.rollout.ledger_audit import SavedLedger, StageRules, audit, compare
from rlpost.rollout.ledger_journal import Journal, JournalLine, UntrainedPrompt

SETTINGS = (
    Setting(per_step=1, samples=1, bound=0),
    Setting(per_step=3, samples=2, bound=0, max_refill=1.0, gold_faults=True),
    Setting(per_step=2, samples=3, bound=1, infra_faults=True),
    Setting(per_step=2, samples=2, bound=3, max_refill=2.0, gold_faults=True, infra_faults=True),
)
Lines = list[JournalLine]


@cache
def played(setting: Setting) -> Run:
    """Seven steps, out of order where they may be, cut and resumed in the middle."""
    run = Run(setting)
    for step in range(8):
        run.pull()
        run.announce()
        for luck in range(3):
            run.work(luck)
        run.step_in_order()
        if step == 3:
            run.crash()
        elif step < 6:
            run.save()
    assert run.learner == 7
    return run


def journal(lines: Lines, *, is_cut_off: bool = False) -> Journal:
    return Journal(lines=lines, unreadable=[], is_cut_off=is_cut_off)


def rules_found(spoilt: Journal, rules: StageRules, *, is_finished: bool = True) -> set[str]:
    return {finding.rule for finding in audit(spoilt, rules, is_finished=is_finished).findings}


def places(lines: Lines, kind: str) -> Iterator[tuple[int, int]]:
    """(line, place) of everything that is trained, or dropped."""
    for at, line in enumerate(lines):
        for place in range(len(getattr(line, kind))):
            yield at, place


def put(lines: Lines, at: int, **changes: object) -> Lines:
    return [*lines[:at], replace(lines[at], **changes), *lines[at + 1 :]]


def change(lines: Lines, kind: str, at: int, place: int, /, **changes: object) -> Lines:
    entries = list(getattr(lines[at], kind))
    entries[place] = entries[place]._replace(**changes)
    return put(lines, at, **{kind: tuple(entries)})


def without(lines: Lines, kind: str, at: int, place: int) -> Lines:
    entries = getattr(lines[at], kind)
    return put(lines, at, **{kind: entries[:place] + entries[place + 1 :]})


def trained_twice(lines: Lines) -> Iterator[Lines]:
    for at, place in places(lines, "trained"):
        for earlier in range(at):
            yield change(lines, "trained", at, place, place=lines[earlier].trained[0].place)


def trained_and_dropped(lines: Lines) -> Iterator[Lines]:
    for at, place in places(lines, "trained"):
        again = UntrainedPrompt(lines[at].trained[place].place, "no signal")
        for other in range(at, len(lines)):
            yield put(lines, other, dropped=(*lines[other].dropped, again))


def short_batch(lines: Lines) -> Iterator[Lines]:
    yield from (without(lines, "trained", *where) for where in places(lines, "trained"))


def fewer_samples(lines: Lines) -> Iterator[Lines]:
    for at, place in places(lines, "trained"):
        yield change(lines, "trained", at, place, samples=lines[at].trained[place].samples - 1)


def too_old(lines: Lines, bound: int = 3) -> Iterator[Lines]:
    for at, place in places(lines, "trained"):
        yield change(lines, "trained", at, place, oldest_version=lines[at].step - bound - 1)


def from_the_future(lines: Lines) -> Iterator[Lines]:
    for at, place in places(lines, "trained"):
        yield change(lines, "trained", at, place, oldest_version=lines[at].step + 1)


def never_issued(lines: Lines) -> Iterator[Lines]:
    for at, place in places(lines, "trained"):
        yield change(lines, "trained", at, place, place=lines[at].issued)
        yield change(lines, "trained", at, place, place=-1)


def no_reason(lines: Lines) -> Iterator[Lines]:
    yield from (change(lines, "dropped", *where, reason="") for where in places(lines, "dropped"))


def dropped_one_lost(lines: Lines) -> Iterator[Lines]:
    yield from (without(lines, "dropped", *where) for where in places(lines, "dropped"))


def one_more_issued(lines: Lines) -> Iterator[Lines]:
    yield put(lines, len(lines) - 1, issued=lines[-1].issued + 1)


def open_one_lost(lines: Lines) -> Iterator[Lines]:
    yield from (without(lines, "ended", len(lines) - 1, place) for place in range(len(lines[-1].ended or ())))


def open_without_reason(lines: Lines) -> Iterator[Lines]:
    for place in range(len(lines[-1].ended or ())):
        yield change(lines, "ended", len(lines) - 1, place, reason="")


def issued_shrinks(lines: Lines) -> Iterator[Lines]:
    for at in range(1, len(lines)):
        yield put(lines, at, issued=lines[at - 1].issued - 1)


def gap(lines: Lines) -> Iterator[Lines]:
    yield from (lines[:at] + lines[at + 1 :] for at in range(len(lines) - 1))


def line_twice(lines: Lines) -> Iterator[Lines]:
    yield from (lines[: at + 1] + lines[at:] for at in range(len(lines) - 1))


def end_missing(lines: Lines) -> Iterator[Lines]:
    yield lines[:-1]


def line_after_the_end(lines: Lines) -> Iterator[Lines]:
    yield [*lines, replace(lines[-2], step=lines[-1].step)]


ONCE = "a prompt is trained or dropped once"
SPOILT: dict[Callable[[Lines], Iterator[Lines]], str] = {
    trained_twice: ONCE,
    trained_and_dropped: ONCE,
    short_batch: "a step trains",
    fewer_samples: "a prompt has",
    too_old: "a token is 0 to",
    from_the_future: "a token is 0 to",
    never_issued: "a prompt was issued",
    no_reason: "a prompt is dropped with a reason",
    dropped_one_lost: "every prompt is trained, dropped, or named as open at the end",
    one_more_issued: "every prompt is trained, dropped, or named as open at the end",
    open_one_lost: "every prompt is trained, dropped, or named as open at the end",
    open_without_reason: "a prompt stays open with a reason",
    issued_shrinks: "what is issued stays so",
    gap: "steps follow each other from 0",
    line_twice: "steps follow each other from 0",
    end_missing: "a finished stage says what was open at its end",
    line_after_the_end: "nothing comes after the stage's end",
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_journal_that_was_not_spoilt_holds(setting: Setting) -> None:
    run = played(setting)
    found = audit(run.journal_so_far(ended=True), run.rules(), is_finished=True)
    assert found.findings == []
    assert (found.steps, found.trained) == (7, 7 * setting.per_step)
    assert found.samples == found.trained * setting.samples
    assert found.dropped.total() == len(run.history.dropped)
    for length in range(len(run.journal) + 1):
        under_way = journal(run.journal[:length], is_cut_off=True)
        assert audit(under_way, run.rules(), is_finished=False).findings == []


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_each_spoilt_journal_is_found_out(spoil: Callable[[Lines], Iterator[Lines]]) -> None:
    count = 0
    for setting in SETTINGS:
        run = played(setting)
        for lines in spoil(run.journal_so_far(ended=True).lines):
            found = rules_found(journal(lines), run.rules())
            assert any(rule.startswith(SPOILT[spoil]) for rule in found), found
            count += 1
    assert count > 0, "nothing was spoilt"


def test_a_finished_stage_has_all_its_steps_and_whole_lines() -> None:
    run = played(SETTINGS[2])
    lines = run.journal_so_far(ended=True).lines
    assert rules_found(journal(lines), run.rules()._replace(steps=9)) == {"a finished stage has 9 steps"}
    assert rules_found(journal(lines, is_cut_off=True), run.rules()) == {"a finished stage has whole lines"}
    unreadable = Journal(lines=lines, unreadable=["line 3: Invalid JSON"], is_cut_off=False)
    [finding] = audit(unreadable, run.rules(), is_finished=False).findings
    assert str(finding) == "line 3: a line can be read; found Invalid JSON"


def test_a_prompt_that_a_synchronous_stage_loses_is_missed_at_once() -> None:
    run = played(SETTINGS[1])
    spoilt = list(dropped_one_lost(run.journal))
    assert spoilt
    for lines in spoilt:
        assert rules_found(journal(lines), run.rules(), is_finished=False) == {
            "at most 0 prompts are open after a step"
        }


def test_a_huge_number_that_was_altered_on_disk_is_told_as_any_other() -> None:
    run = played(SETTINGS[2])
    lines = run.journal_so_far(ended=True).lines
    huge = put(lines, len(lines) - 1, issued=10**15)
    [finding] = audit(journal(huge), run.rules(), is_finished=True).findings
    assert finding.found.startswith("lost: ") and finding.found.endswith(" ...")
    saved = run.saved_ledger()
    assert saved is not None
    [finding] = compare(journal(lines), replace(saved, first_open=10**15))
    assert finding.found.endswith(" ... in it, none in the lines")


def test_a_finding_says_where_and_what() -> None:
    run = played(SETTINGS[0])
    spoilt = journal(next(trained_twice(run.journal_so_far(ended=True).lines)))
    told = [str(finding) for finding in audit(spoilt, run.rules(), is_finished=True).findings]
    assert told[0] == f"step 1: {ONCE}; found prompt 0 trained in step 0, and trained in step 1"
    assert told[-1].endswith("named as open at the end; found lost: 1")


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_checkpoint_says_what_the_lines_before_it_say_or_is_found_out(setting: Setting) -> None:
    run = played(setting)
    lines, saved = run.journal_so_far(ended=True), run.saved_ledger()
    assert saved is not None and saved.step == 5
    assert compare(lines, saved) == []

    def differences(spoilt: SavedLedger) -> list[str]:
        return [finding.found.partition(":")[0] for finding in compare(lines, spoilt)]

    assert differences(replace(saved, trained=saved.trained + 1)) == ["prompts trained"]
    assert differences(replace(saved, dropped={**saved.dropped, "lost": 1})) == ["prompts dropped"]
    assert differences(replace(saved, step=9)) != []
    done_with = "prompts done with that the other has open"
    assert differences(replace(saved, first_open=saved.first_open - 1)) == [done_with]
    above = (*saved.finished_above, lines.lines[-1].issued)
    assert differences(replace(saved, finished_above=above)) == [done_with]
