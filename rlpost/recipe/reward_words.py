"""The routes of `rewards` in words, as `rlpost check` prints them."""

from __future__ import annotations

from collections.abc import Iterator

from rlpost.recipe.rewards import RewardNode, RewardsConfig, WeightSchedule


def reward_lines(rewards: RewardsConfig | None) -> Iterator[str]:
    """Yield one line per route, and one about verdicts that cannot be given."""
    if rewards is None or not rewards.routes:
        return
    for value, node in rewards.routes.items():
        which = "everything else" if value == "*" else f"{rewards.route_by} {value}"
        yield f"rewards of {which}: {_weight(node)}{_words(node)}"
    faults = rewards.on_faults
    yield (
        f"of the last {faults.window:,} verdicts, infra faults above {faults.pause_above:.3g} pause the run and above "
        f"{faults.stop_above:.3g} end it"
    )


def _words(node: RewardNode) -> str:
    if node.verifier is not None:
        return f"{node.name} ({node.verifier})" if node.name else node.verifier
    if node.gate is not None and node.then is not None:
        words = f"if {_words(node.gate)} {_bar(node.gate)} then {_part(node.then)} else {node.otherwise:g}"
    elif node.sum is not None:
        words = " + ".join(f"{_weight(child)}{_part(child)}" for child in node.sum)
    elif node.product is not None:
        words = " x ".join(map(_part, node.product))
    elif node.min is not None:
        words = f"the least of {', '.join(map(_part, node.min))}"
    elif node.first is not None:
        words = f"the first that applies of {', '.join(map(_first, node.first))}"
    elif node.clip is not None:
        words = f"{_part(node.clip.of)} held within [{node.clip.low:g}, {node.clip.high:g}]"
    else:
        assert node.scale is not None, "a node has one operator"
        offset = f" {node.scale.offset:+g}" if node.scale.offset else ""
        words = f"{node.scale.by:g} x {_part(node.scale.of)}{offset}"
    return f"({node.name} = {words})" if node.name else words


def _part(node: RewardNode) -> str:
    """Describe a child node, in brackets unless it is a verifier, and say when it runs."""
    words = _words(node) if node.verifier is not None or node.name else f"({_words(node)})"
    return f"{words} where {node.when} passed" if node.when else words


def _first(node: RewardNode) -> str:
    return _part(node) if node.least is None else f"{_part(node)} (if at least {node.least:g})"


def _bar(node: RewardNode) -> str:
    return "passes" if node.least is None else f"is at least {node.least:g}"


def _weight(node: RewardNode) -> str:
    if isinstance(node.weight, WeightSchedule):
        low, high = node.weight.start, node.weight.end
        return f"({low:g} going to {high:g} over {node.weight.steps:,} steps) x "
    return "" if node.weight == 1 else f"{node.weight:g} x "
