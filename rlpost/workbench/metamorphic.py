"""Probes that follow from a verifier's cases: properties that every verifier must have, whatever its field.

A probe is a sample with an expectation. A kind of probe that makes no sense for a verifier is off, and the reason is
shown. The reason follows from the verifier's declaration (it needs no gold, its gold is not an answer), or the author
gives it: a module may have a table `SELF_TEST_OFF = {"its.name": {"gold or another": "why it pays for that"}}`.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any, Literal, cast

from rlpost.errors import RewardError
from rlpost.recipe.nearest import nearest_words
from rlpost.records import Fault, Sample, Verdict
from rlpost.score_comparison import exceeds, reaches
from rlpost.scoring.authoring import Case, Verifier
from rlpost.workbench.answers import gold_is_an_answer, gold_text, place_of, with_answer

OFF_TABLE = "SELF_TEST_OFF"
Expected = Literal["top", "low", "judged", "not paid"]
"""`top`: the highest score. `low`: at most the score that the cases allow for a wrong answer, and no fault. `judged`:
any score, and no fault. `not paid`: a low score, or a fault that does not blame the model."""

HOSTILE_TEXTS = {
    "empty": ("", " \n\t"),
    "1 MB": ("a" * 10**6, "7 " * (5 * 10**5)),
    "NUL, zero-width, bidi": ("\0", "\u200b\u202e\u2066", "a\0b", "\ufeff\u200d", "\ud800"),
    "10,000 braces": ("{" * 10**4, "}" * 10**4, r"\boxed{" * 10**4, r"\boxed{" * 2000 + "}" * 2000, "[" * 10**4),
    "ends of thought": ("</think>" * 9, "<think>" * 9, "<answer></answer>" * 9),
}
WRONG_GOLDS: tuple[Any, ...] = (None, True, [[[]]], {"nested": {"nested": [None]}}, [])
LOOKED_AT = 100
"""Number of leading characters of a hostile text that decide whether it is visible."""
LARGEST_CROSS = 24
"""Most pairs of golds that are tried on each other."""
REFUSAL = "I looked at {gold} for a while, but I did not work it out, so I will not commit to an answer here."
ECHO = "Solve the task. Think step by step and put the final answer in \\boxed{{}}.{choices}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """One sample for a verifier, and the expected verdict."""

    kind: str
    sample: Sample
    params: Mapping[str, Any]
    expected: Expected
    pair: tuple[int, int] | None = None
    """For golds tried on each other: (index of the case with the answer, index of the case with the gold)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeSet:
    """All probes of a verifier, and the kinds of probe that are switched off."""

    probes: tuple[Probe, ...]
    off: Mapping[str, str]
    """Kind -> the reason why it is off."""


def probes_of(verifier: Verifier) -> ProbeSet:
    """Derive the probes from the verifier's cases; every kind yields probes or is off for a reason.

    Raises:
        RewardError: the author's table names a kind that does not exist.
    """
    declared = _declared_off(verifier)
    accepted = [case for case in verifier.cases if case.expect == "accept"]
    probes: list[Probe] = []
    off: dict[str, str] = {}
    for kind, make in _KINDS.items():
        if kind in declared:
            off[kind] = declared[kind]
        elif not accepted:
            off[kind] = "it ships no case that must be accepted"
        else:
            made = make(verifier, accepted)
            if isinstance(made, str):
                off[kind] = made
            else:
                probes += [replace(probe, kind=kind) for probe in made]
    return ProbeSet(probes=tuple(probes), off=off)


def most_for_wrong(verifier: Verifier) -> float:
    """Largest score that the verifier's own cases allow for an answer that is not accepted."""
    return max((case.at_most for case in verifier.cases if case.expect != "accept"), default=0.0)


def probe_failure(verifier: Verifier, probe: Probe, verdict: Verdict) -> str | None:
    """Say which requirement the verdict breaks; None if it breaks none."""
    low, top = verifier.spec.score_range
    if probe.expected == "top":
        return (
            None
            if verdict.fault is None and verdict.score is not None and reaches(verdict.score, top)
            else f"must score {top:g}"
        )
    if verdict.fault is Fault.POLICY:
        return "must not break on it, nor blame the model for it"
    if probe.expected == "not paid" and verdict.fault is Fault.GOLD:
        return None
    if verdict.fault is not None:
        return f"must be judged; it is a fault of {verdict.fault}"
    assert verdict.score is not None
    if probe.expected == "judged":
        return None
    limit = max(low, most_for_wrong(verifier))
    # Where partial credit for a wrong answer is allowed, the verifier decides how much, below the top score.
    if limit > low and limit > 0:
        is_unpaid = not reaches(verdict.score, top)
    else:
        is_unpaid = not exceeds(verdict.score, max(limit, low))
    if is_unpaid:
        return None
    return f"must score {f'below {top:g}' if limit > 0 else f'at most {max(limit, low):g}'}"


def _declared_off(verifier: Verifier) -> Mapping[str, str]:
    module = sys.modules.get(verifier.function.__module__)
    tables = cast("Mapping[str, Mapping[str, str]]", getattr(module, OFF_TABLE, {}))
    declared = tables.get(verifier.spec.name, {})
    for kind in declared:
        if kind not in _KINDS:
            raise RewardError(
                f"{OFF_TABLE} of {verifier.spec.name}: no probe is called {kind!r}: {nearest_words(kind, _KINDS)}"
            )
    return declared


Made = list[Probe] | str


def _probe(case: Case, response: str, *, gold: Any, expected: Expected, prompt: str = "") -> Probe:
    sample = replace(case.sample(), response=response, gold=gold, prompt=prompt)
    return Probe(kind="", sample=sample, params=case.params, expected=expected)


def _hostile(kind: str) -> Callable[[Verifier, list[Case]], Made]:
    def make(verifier: Verifier, accepted: list[Case]) -> Made:
        case = accepted[0]
        # A verifier that judges only form may find that form in any visible text.
        free = not verifier.spec.requires
        return [
            _probe(case, text, gold=case.gold, expected="judged" if free and _is_visible(text) else "low")
            for text in HOSTILE_TEXTS[kind]
        ]

    return make


def _is_visible(text: str) -> bool:
    return any(unicodedata.category(character) not in ("Cc", "Cf", "Zs") for character in text[:LOOKED_AT])


def _needs_gold(verifier: Verifier) -> str | None:
    return None if "gold" in verifier.spec.requires else "it needs no gold"


def _gold_itself(verifier: Verifier, accepted: list[Case]) -> Made:
    if (why := _needs_gold(verifier)) is not None:
        return why
    if not gold_is_an_answer(verifier):
        # Its own accepted response is then the only answer known to be right.
        return [_probe(accepted[0], accepted[0].response, gold=accepted[0].gold, expected="top")]
    answers = [(case, with_answer(verifier, case, gold_text(case.gold) or "")) for case in accepted]
    return [_probe(case, answer, gold=case.gold, expected="top") for case, answer in answers if answer is not None]


def _gold_in_prose(verifier: Verifier, accepted: list[Case]) -> Made:
    if (why := _no_text_answers(verifier)) is not None:
        return why
    return [
        _probe(case, REFUSAL.format(gold=gold_text(case.gold)), gold=case.gold, expected="low")
        for case in accepted
        if gold_text(case.gold)
    ]


def _other_golds(verifier: Verifier, accepted: list[Case]) -> Made:
    if (why := _needs_gold(verifier)) is not None:
        return why
    if any(isinstance(case.gold, dict) for case in accepted):
        return "its golds are rules, and one answer may keep several"
    pairs = [
        (first, second)
        for first in range(len(accepted))
        for second in range(len(accepted))
        if first != second and _comparable(accepted[first], accepted[second])
    ]
    # A gold rewarded in both directions is another spelling of the same gold, so both directions are probed together.
    chosen = sorted({tuple(sorted(pair)) for pair in pairs})[: LARGEST_CROSS // 2]
    if not chosen:
        return "its accepted cases have one gold"
    return [_crossed(verifier, accepted, *pair) for a, b in chosen for pair in ((a, b), (b, a))]


def _comparable(one: Case, other: Case) -> bool:
    """Whether neither gold is among the other's alternatives, and the cases differ in nothing else."""
    golds, other_golds = _alternatives(one.gold), _alternatives(other.gold)
    return one.params == other.params and one.meta == other.meta and not golds & other_golds


def _alternatives(gold: object) -> set[str]:
    several = cast("list[object]", gold) if isinstance(gold, list | tuple) else [gold]
    return {json.dumps(one, default=str).casefold() for one in several}


def _crossed(verifier: Verifier, accepted: list[Case], answering: int, judged: int) -> Probe:
    case, answer = accepted[judged], accepted[answering].response
    return replace(_probe(case, answer, gold=case.gold, expected="low"), pair=(answering, judged))


def _gold_or_another(verifier: Verifier, accepted: list[Case]) -> Made:
    if (why := _no_text_answers(verifier)) is not None:
        return why
    return list(_hedges(verifier, accepted))


def _hedges(verifier: Verifier, accepted: list[Case]) -> Iterator[Probe]:
    for case in accepted:
        gold = gold_text(case.gold)
        if gold is None or verifier.validated(case.params).get("on_many") == "last":
            continue
        other = another_answer(verifier, gold)
        texts = [with_answer(verifier, case, hedge) for hedge in (f"{gold} or {other}", f"{other} or {gold}")]
        if place_of(verifier, case.params) in ("last_boxed", "auto"):
            texts.append(rf"\boxed{{{other}}} or \boxed{{{gold}}}")
        yield from (_probe(case, text, gold=case.gold, expected="low") for text in texts if text is not None)


def another_answer(verifier: Verifier, gold: str) -> str:
    """Return a wrong answer: a number far off, or the most similar gold of the other cases."""
    try:
        return f"{float(gold) * 3 + 17:g}"
    except ValueError:
        pass
    others = [gold_text(case.gold) for case in verifier.cases]
    folded = gold.casefold()
    different = [
        other for other in others if other and other.casefold() not in folded and folded not in other.casefold()
    ]
    return max(different, key=lambda other: SequenceMatcher(None, gold, other).ratio(), default="something else")


def _prompt_echo(verifier: Verifier, accepted: list[Case]) -> Made:
    if (why := _needs_gold(verifier)) is not None:
        return why
    if any(isinstance(case.gold, dict) for case in accepted):
        return "its golds are rules, which the words of a prompt may keep"
    probes: list[Probe] = []
    for case in accepted[:3]:
        choices = case.meta.get("choices")
        prompt = ECHO.format(choices=f" Choose from: {choices}" if choices else "")
        probes.append(_probe(case, prompt, gold=case.gold, expected="low", prompt=prompt))
    return probes


def _wrong_golds(verifier: Verifier, accepted: list[Case]) -> Made:
    if (why := _needs_gold(verifier)) is not None:
        return why
    case = accepted[0]
    probes = [_probe(case, "", gold=gold, expected="not paid") for gold in WRONG_GOLDS]
    if not any(isinstance(case.gold, dict) for case in accepted):  # a schema may be `true`, or require nothing
        # A case may require nothing at all, so an empty list is a readable gold.
        wrong = [gold for gold in WRONG_GOLDS if gold != []]
        probes += [_probe(case, case.response, gold=gold, expected="not paid") for gold in wrong]
    return probes


def _no_text_answers(verifier: Verifier) -> str | None:
    if (why := _needs_gold(verifier)) is not None:
        return why
    return None if gold_is_an_answer(verifier) else "its gold is a rule or a structure, not what a response says"


_KINDS: Mapping[str, Callable[[Verifier, list[Case]], Made]] = {
    **{kind: _hostile(kind) for kind in HOSTILE_TEXTS},
    "gold itself": _gold_itself,
    "gold in prose": _gold_in_prose,
    "other golds": _other_golds,
    "gold or another": _gold_or_another,
    "prompt echo": _prompt_echo,
    "unreadable gold": _wrong_golds,
}
