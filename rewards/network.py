"""Network configuration: compares values by their meaning, and blocks of lines as sets.

Policies, each with a case below:

- Addresses, prefixes, AS numbers, VLAN lists and MAC addresses are equal in any spelling: `10.0.0.1 255.255.255.0` is
  `10.0.0.1/24`. Host bits count unless `host_bits` is `ignore`.
- Lines of a block may be in any order unless `ordered`; a line under another interface is a different line.
- Comments and empty lines are ignored. Every other line that the gold lacks is wrong, so that configuring both of two
  alternatives is not rewarded.
- The answer is the single code block of the response, or all of it; two different code blocks are a hedge.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, cast

from rewards.extraction import OnMany, plain_characters
from rewards.network_blocks import read_blocks
from rewards.network_values import HostBits, normal_value
from rewards.set_match import SetMatch
from rewards.strict_json import payload, read_json
from rlpost.records import Fault, Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

LONGEST_ANSWER = 50_000
"""Longest answer, in characters."""
_PORT = "interface Gi0/1\n description uplink\n ip address 10.0.0.1 255.255.255.0\n no shutdown\n"
_TWO_PORTS = "interface Gi0/1\n ip address 10.0.0.1/24\ninterface Gi0/2\n ip address 10.0.1.1/24"
_SWAPPED = "interface Gi0/1\n ip address 10.0.1.1/24\ninterface Gi0/2\n ip address 10.0.0.1/24"

CASES = (
    Case(
        response="Here it is:\n```\ninterface Gi0/1\n no shutdown\n ! to the core\n ip address 10.0.0.1/24\n"
        " description uplink\n```",
        gold=_PORT,
        expect="accept",
        note="order, comments and the form of the mask do not count",
    ),
    Case(
        response='{"prefix": "2001:DB8:0:0::/32", "peer_as": "AS65001", "vlans": "20, 10-12"}',
        gold={"prefix": "2001:db8::/32", "peer_as": 65001, "vlans": "10,11,12,20"},
        expect="accept",
    ),
    Case(
        response="peer_as: 1.10\nprefix: 10.0.0.0/8", gold={"prefix": "10.0.0.0/8", "peer_as": 65546}, expect="accept"
    ),
    Case(response="10.1.0.0/16, 10.0.0.0/255.255.0.0", gold=["10.0.0.0/16", "10.1.0.0/16"], expect="accept"),
    Case(
        response="10.0.0.9/24",
        gold=["10.0.0.0/24"],
        params={"host_bits": "ignore"},
        expect="accept",
        note="the prefix that the address lies in",
    ),
    Case(response=_PORT.replace("10.0.0.1", "10.0.0.2"), gold=_PORT, expect="reject"),
    Case(response="10.0.0.9/24", gold=["10.0.0.0/24"], expect="reject", note="host bits count"),
    Case(response='{"vlan": 11}', gold={"vlan": 10}, expect="reject"),
    Case(response="interface Gi0/1\n no shutdown", gold=_PORT, expect="reject", note="lines are missing"),
    Case(
        response="permit any\ndeny 10.0.0.0/8",
        gold="deny 10.0.0.0/8\npermit any",
        params={"ordered": True},
        expect="reject",
        note="the order counts where it is asked for",
    ),
    Case(response=_SWAPPED, gold=_TWO_PORTS, expect="adversarial", note="the right lines under the wrong ports"),
    Case(response=_PORT + " shutdown\n", gold=_PORT, expect="adversarial", note="both of two alternatives"),
    Case(response='{"vlan": 11, "vlan": 10}', gold={"vlan": 10}, expect="adversarial", note="one key twice"),
    Case(response="10.0.0.0/16 or 10.1.0.0/16", gold=["10.0.0.0/16"], expect="adversarial", note="hedged"),
    Case(response=f"```\n{_PORT}```\nor\n```\nno ip routing\n```", gold=_PORT, expect="adversarial", note="two blocks"),
    Case(response="! " + _PORT.replace("\n", "\n! "), gold=_PORT, expect="adversarial", note="all of it a comment"),
    Case(response="1\u0660.0.0.O/24", gold=["10.0.0.0/24"], expect="adversarial", note="a letter for a digit"),
)


@verifier(name="network.config", version="2", isolation="inline", cases=CASES)
def config(
    sample: Sample,
    *,
    on_many: OnMany = "reject",
    host_bits: HostBits = "count",
    ordered: bool = False,
    casefold: bool = False,
    partial: bool = False,
) -> Verdict:
    """1 when the answer configures exactly what the gold does, otherwise 0, or F0.5 of its lines or values.

    Args:
        sample: Its gold is a text of configuration lines; or a mapping of names to values, which the answer gives as
            JSON or as `name: value` lines; or a list of values, which the answer gives as JSON, in lines, or separated
            by commas.
        on_many: Whether several different code blocks are rejected or the last one counts.
        host_bits: Whether the bits of an address beyond its prefix count.
        ordered: Whether lines and values must be in the gold's order.
        casefold: Whether case is ignored.
        partial: Give F0.5 as the score, so that a wrong line costs more than a missing one.
    """

    def fold(text: str) -> str:
        return text.casefold() if casefold else text

    def normal(key: str, value: object) -> str:
        return normal_value(fold(_text(value)), key=key, host_bits=host_bits)

    text, reason, tags = _answer_text(sample.response, on_many=on_many)
    golds = answers = None
    match sample.gold:
        case str():
            golds = read_blocks(plain_characters(sample.gold), host_bits=host_bits, casefold=casefold)
            answers = read_blocks(text, host_bits=host_bits, casefold=casefold)
        case dict() if all(isinstance(value, str | int) for value in cast("dict[Any, Any]", sample.gold).values()):
            gold = cast("Mapping[str, Any]", sample.gold)
            golds = [(fold(str(key)), normal(str(key), value)) for key, value in gold.items()]
            pairs = _pairs(text)
            answers = None if pairs is None else [(fold(key), normal(key, value)) for key, value in pairs]
        case list() | tuple() if all(isinstance(value, str | int) for value in cast("Sequence[Any]", sample.gold)):
            golds = [normal("", value) for value in cast("Sequence[Any]", sample.gold)]
            answers = [normal("", value) for value in _items(text)]
        case _:
            pass
    if not golds or not all(map(any, golds)):
        return Verdict(
            fault=Fault.GOLD, reason=f"the gold {sample.gold!r:.100} is not a configuration that can be read"
        )
    if not answers:
        return Verdict(score=0.0, reason=reason or "no configuration that can be read", tags=tags or ("no_answer",))
    return _judged(answers, golds, ordered=ordered, partial=partial)


def _judged(answers: Sequence[Hashable], golds: Sequence[Hashable], *, ordered: bool, partial: bool) -> Verdict:
    wanted, given = set(golds), set(answers)
    right = len(wanted & given)
    match = SetMatch(precision=right / len(given), recall=right / len(wanted))
    in_order = not ordered or list(dict.fromkeys(answers)) == list(dict.fromkeys(golds))
    exact = match.is_exact and in_order
    reason = f"{right} of {len(wanted)} right, {len(given) - right} others" if not match.is_exact else "another order"
    return Verdict(
        score=float(exact) if not partial or (match.is_exact and not in_order) else match.f_half,
        parts=match.parts,
        parsed=json.dumps(answers, ensure_ascii=False)[:500],
        reason="equal" if exact else reason,
        tags=match.tags(answers=len(given), golds=len(wanted)),
    )


def _answer_text(response: str, *, on_many: OnMany) -> tuple[str, str, tuple[str, ...]]:
    """Return the code block, or all text after the thinking; the reason if it is rejected; and tags for that."""
    found = payload(response, fence="allow", text_around=True, on_many=on_many)
    if found.text is None:
        return "", found.reason, found.tags
    if len(found.text) > LONGEST_ANSWER:
        return "", f"more than {LONGEST_ANSWER} characters", ("stuffed",)
    return plain_characters(found.text), "", ()


def _pairs(text: str) -> list[tuple[str, object]] | None:
    """Read a JSON object or `name: value` lines as pairs; None if the text is neither, or a name occurs twice."""
    if text.lstrip().startswith("{"):
        value, _ = read_json(text)
        return list(cast("dict[str, object]", value).items()) if isinstance(value, dict) else None
    lines = [line.strip().partition(":") for line in text.splitlines() if line.strip()]
    pairs: list[tuple[str, object]] = [
        (name.strip(" *-`\"'"), value.strip(" *`\"',")) for name, colon, value in lines if colon
    ]
    return pairs if len({name for name, _ in pairs}) == len(pairs) else None


def _items(text: str) -> list[object]:
    """Read the values of a JSON list, or the items between commas, semicolons and line ends."""
    value, _ = read_json(text) if text.lstrip().startswith("[") else (None, None)
    if isinstance(value, list):
        return cast("list[object]", value)
    return [item.strip() for item in text.replace(",", "\n").replace(";", "\n").splitlines() if item.strip()]


def _text(value: object) -> str:
    """Write a flat list as `10,11`, and a plain value as it prints; bounded, because a million digits are slow to
    print.
    """
    if isinstance(value, list):
        return ",".join("a list" if isinstance(one, list) else _text(one) for one in cast("list[object]", value)[:1000])
    if isinstance(value, int) and abs(value) >= 2**64:
        return "a number beyond 64 bits"
    return str(value) if isinstance(value, str | int | float) else "no plain value"
