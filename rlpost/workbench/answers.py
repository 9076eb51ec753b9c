r"""How a gold is given as an answer, so that a test can ask a verifier about answers that nobody wrote.

A verifier with a parameter `where` reads its answer in a place that has a name, so the gold can be put there:
`\boxed{46}`. For another one the place is found in a case that must be accepted: if the gold stands in the case's
response, any other text can take its place. Where neither holds (unit tests, a schema, a list of constraints), the gold
is a rule and no answer, and there is nothing to be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlpost.scoring.authoring import Case, Verifier

Params = Mapping[str, Any]


def text_of(gold: object) -> str | None:
    """The gold as a person would write it, where it is one text or number; None where it is not."""
    if isinstance(gold, bool) or not isinstance(gold, str | int | float):
        return None
    return str(gold).strip() or None


def gold_text(gold: object) -> str | None:
    """The same where it fits into a sentence; None for one of several lines, which is a solution, code or a table."""
    text = text_of(gold)
    return None if text is None or len(text.splitlines()) > 1 else text


def placed(answer: str, *, where: str) -> str:
    r"""A response whose final answer, read at `where`, is this text.

    Golds of data sets often have a box or an `Answer:` of their own, which is left as it is.
    """
    if where in ("last_boxed", "auto") and r"\boxed{" not in answer:
        return rf"\boxed{{{answer}}}"
    return answer


def place_of(verifier: Verifier, params: Params) -> str | None:
    """Where the verifier reads the final answer under these parameters; None where it has no such parameter."""
    where = verifier.validated(params).get("where")
    return where if isinstance(where, str) else None


def gold_is_an_answer(verifier: Verifier) -> bool:
    """Whether golds are what responses say: the answer's place has a name, or an accepted response has the gold."""
    accepted = [case for case in verifier.cases if case.expect == "accept" and gold_text(case.gold) is not None]
    return any(place_of(verifier, case.params) is not None or _gold_in_response(case) for case in accepted)


def with_answer(verifier: Verifier, case: Case, answer: str) -> str | None:
    """The response of an accepted case with another answer in place of its own; None where the place is not known."""
    where = place_of(verifier, case.params)
    if where is not None and gold_text(case.gold) is not None:
        return placed(answer, where=where)
    if not _gold_in_response(case):
        return None
    gold = gold_text(case.gold)
    assert gold is not None
    before, _, after = case.response.rpartition(gold)
    return before + answer + after


def _gold_in_response(case: Case) -> bool:
    gold = gold_text(case.gold)
    return gold is not None and gold in case.response
