"""Judges samples by a tree of verifiers, which `rlpost.recipe.rewards` describes. A node is evaluated for all samples
of a call at once, and only for the samples that still need it.

How verdicts other than scores combine: if a node whose value is needed returns a gold or infra fault, the whole verdict
is that fault. A policy fault counts as its verifier's floor score; the whole then has a score, and carries the policy
fault beside it. A verdict with `Mark.NOT_APPLICABLE` abstains: a sum or product skips it, `first` asks its next child,
and a gate stays open. A row to which no verifier applies gets a gold fault, since it cannot be judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from math import fsum, prod
from typing import Any

from rlpost.recipe.rewards import RewardNode
from rlpost.records import Fault, Mark, Sample, Verdict
from rlpost.score_comparison import reaches
from rlpost.scoring.authoring import Verifier


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    """One verifier with its checked parameters and its limits."""

    verifier: Verifier
    params: Mapping[str, Any]
    timeout_s: float


@dataclass(frozen=True, kw_only=True)
class Part:
    """A node of a tree with its verifier resolved."""

    node: RewardNode
    name: str | None
    """Name in `Verdict.parts` and in `when`; None for an inner node that the recipe gives no name."""
    least: float | None
    """The smallest value that passes."""
    leaf: Leaf | None
    children: tuple[Part, ...]
    in_gate: bool
    """Whether this part only decides whether another part counts."""

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """All verifiers of this part and its descendants, in the order in which they run."""
        below = tuple(leaf for child in self.children for leaf in child.leaves)
        return below if self.leaf is None else (*below, self.leaf)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of this part and of all its descendants."""
        own = frozenset[str]() if self.name is None else frozenset((self.name,))
        return own.union(*(child.names for child in self.children))

    @cached_property
    def stamp(self) -> str:
        """Names and versions of all its verifiers."""
        return " + ".join(dict.fromkeys(leaf.verifier.spec.stamp for leaf in self.leaves))

    def passes(self, value: Value) -> bool:
        """Whether a value reaches the threshold of this part."""
        return isinstance(value, float) and self.least is not None and reaches(value, self.least)


Ask = Callable[[Leaf, Sequence[Sample]], Sequence[Verdict]]
"""Asks one verifier for one verdict per sample."""


class Nothing(Enum):
    """The reason why a part has no value."""

    SKIPPED = "skipped"
    ABSTAINED = "abstained"


Value = float | Nothing


@dataclass(slots=True)
class _State:
    """The progress of one sample through the tree."""

    sample: Sample
    parts: dict[str, float] = field(default_factory=dict[str, float])
    passed: set[str] = field(default_factory=set[str])
    verdicts: list[tuple[Part, Verdict]] = field(default_factory=list[tuple[Part, Verdict]])
    end: Verdict | None = None
    """The fault in which the sample's judgement ended."""


def judge_by(root: Part, samples: Sequence[Sample], *, ask: Ask) -> list[Verdict]:
    """Return one verdict per sample, in the same order, multiplied by the weight of the root."""
    states = [_State(sample) for sample in samples]
    values = _run(root, states, ask)
    return [_verdict(root, state, value) for state, value in zip(states, values, strict=True)]


def _run(part: Part, states: Sequence[_State], ask: Ask) -> list[Value]:
    """Evaluate the part for each sample; skipped for samples that ended in a fault and where `when` does not hold."""
    when = part.node.when
    asked = [state for state in states if state.end is None and (when is None or when in state.passed)]
    values: dict[int, Value] = {}
    if asked:
        found = _OPERATIONS[part.node.operator](part, asked, ask)
        values = {id(state): value for state, value in zip(asked, found, strict=True) if state.end is None}
    for state in asked:
        value = values.get(id(state), Nothing.SKIPPED)
        if part.name is not None and isinstance(value, float):
            state.parts[part.name] = value
            if part.passes(value):
                state.passed.add(part.name)
    return [values.get(id(state), Nothing.SKIPPED) for state in states]


def _verifier(part: Part, states: Sequence[_State], ask: Ask) -> list[Value]:
    assert part.leaf is not None
    values: list[Value] = []
    for state, verdict in zip(states, ask(part.leaf, [state.sample for state in states]), strict=True):
        state.verdicts.append((part, verdict))
        state.parts |= {f"{part.name}.{name}": value for name, value in verdict.parts.items()}
        if verdict.score is None:
            state.end = verdict
            values.append(Nothing.SKIPPED)
        else:
            abstains = Mark.NOT_APPLICABLE in verdict.marks and verdict.fault is None
            values.append(Nothing.ABSTAINED if abstains else float(verdict.score))
    return values


def _gate(part: Part, states: Sequence[_State], ask: Ask) -> list[Value]:
    gate, then = part.children
    conditions = _run(gate, states, ask)
    is_open = [value is Nothing.ABSTAINED or gate.passes(value) for value in conditions]
    behind = [state for state, passes in zip(states, is_open, strict=True) if passes]
    values = iter(_run(then, behind, ask))
    return [_worth([next(values)]) if passes else part.node.otherwise for passes in is_open]


def _sum(part: Part, states: Sequence[_State], ask: Ask) -> list[Value]:
    values_of_children = [_run(child, states, ask) for child in part.children]

    def total(state: _State, values: Sequence[Value]) -> Value:
        weighted = [
            child.node.weight_at(state.sample.step) * value
            for child, value in zip(part.children, values, strict=True)
            if isinstance(value, float)
        ]
        # The exact sum, rounded once, does not depend on the order of the children.
        return fsum(weighted) if weighted else _worth(values)

    return [total(state, values) for state, values in zip(states, zip(*values_of_children, strict=True), strict=True)]


def _product(part: Part, states: Sequence[_State], ask: Ask) -> list[Value]:
    found: list[list[Value]] = [[] for _ in states]
    for child in part.children:
        # A product that is 0 stays 0, so its remaining factors are not asked.
        open_places = [place for place, values in enumerate(found) if 0.0 not in values]
        for place, value in zip(open_places, _run(child, [states[place] for place in open_places], ask), strict=True):
            found[place].append(value)
    return [_folded(values, prod) for values in found]


def _min(part: Part, states: Sequence[_State], ask: Ask) -> list[Value]:
    values_of_children = [_run(child, states, ask) for child in part.children]
    return [_folded(values, min) for values in zip(*values_of_children, strict=True)]


def _first(part: Part, states: Sequence[_State], ask: Ask) -> list[Value]:
    """Return the first value that reaches its child's `least`, else the last value; a child with the tag abstains."""
    found: list[Value] = [Nothing.SKIPPED] * len(states)
    open_places = list(range(len(states)))
    for child in part.children:
        values = _run(child, [states[place] for place in open_places], ask)
        for place, value in zip(open_places, values, strict=True):
            if isinstance(value, float) or (value is Nothing.ABSTAINED and not isinstance(found[place], float)):
                found[place] = value
        settles = [isinstance(value, float) and (child.node.least is None or child.passes(value)) for value in values]
        open_places = [place for place, settled in zip(open_places, settles, strict=True) if not settled]
    return [_worth([value]) for value in found]


def _clip(part: Part, states: Sequence[_State], ask: Ask) -> list[Value]:
    clip = part.node.clip
    assert clip is not None
    values = _run(part.children[0], states, ask)
    return [min(clip.high, max(clip.low, value)) if isinstance(value, float) else _worth([value]) for value in values]


def _scale(part: Part, states: Sequence[_State], ask: Ask) -> list[Value]:
    scale = part.node.scale
    assert scale is not None
    values = _run(part.children[0], states, ask)
    return [value * scale.by + scale.offset if isinstance(value, float) else _worth([value]) for value in values]


_OPERATIONS: dict[str, Callable[[Part, Sequence[_State], Ask], list[Value]]] = {
    "verifier": _verifier,
    "gate": _gate,
    "sum": _sum,
    "product": _product,
    "min": _min,
    "first": _first,
    "clip": _clip,
    "scale": _scale,
}


def _folded(values: Sequence[Value], fold: Callable[[list[float]], float]) -> Value:
    numbers = [value for value in values if isinstance(value, float)]
    return fold(numbers) if numbers else _worth(values)


def _worth(values: Sequence[Value]) -> Value:
    """Return the value of an only child; without a value, `ABSTAINED` if a child abstained, and 0 if none ran."""
    if len(values) == 1 and isinstance(values[0], float):
        return values[0]
    return Nothing.ABSTAINED if Nothing.ABSTAINED in values else 0.0


def _verdict(root: Part, state: _State, value: Value) -> Verdict:
    milliseconds = sum(verdict.milliseconds for _, verdict in state.verdicts)
    if state.end is not None:
        where = "" if root.leaf is not None else f"{state.verdicts[-1][0].name}: "
        parts = state.end.parts if root.leaf is not None else state.parts
        return replace(state.end, parts=parts, reason=where + state.end.reason, milliseconds=milliseconds)
    if not isinstance(value, float):
        reasons = _reasons(root, state)
        return Verdict(
            fault=Fault.GOLD,
            reason="no verifier applies to the row" + (f": {reasons}" if reasons else ""),
            version=root.stamp,
            milliseconds=milliseconds,
        )
    score = value * root.node.weight_at(state.sample.step)
    if root.leaf is not None:
        verdict = state.verdicts[0][1]
        own = {} if root.name is None else {root.name: value}
        return replace(verdict, score=score, parts={**verdict.parts, **own})
    policy = any(verdict.fault is Fault.POLICY for _, verdict in state.verdicts)
    tags = dict.fromkeys(tag for _, verdict in state.verdicts for tag in verdict.tags)
    missing = policy or not root.names <= state.parts.keys()
    return Verdict(
        score=score,
        fault=Fault.POLICY if policy else None,
        parts=state.parts,
        parsed=_parsed(state),
        reason=_reasons(root, state),
        tags=tuple(tags),
        marks=(Mark.PARTS_MISSING,) if missing else (),
        version=root.stamp,
        milliseconds=milliseconds,
    )


def _reasons(root: Part, state: _State) -> str:
    said = [(part, verdict.reason) for part, verdict in state.verdicts if verdict.reason]
    return "; ".join(reason if root.leaf is not None else f"{part.name}: {reason}" for part, reason in said)


def _parsed(state: _State) -> str | None:
    """The answer as read by the first verifier outside a gate; if there is none, by the first in a gate."""
    read = [(part.in_gate, verdict.parsed) for part, verdict in state.verdicts if verdict.parsed is not None]
    return next((parsed for in_gate, parsed in read if not in_gate), read[0][1] if read else None)
