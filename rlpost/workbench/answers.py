r"""Writes golds as answers, so that a test can ask a verifier about answers that are not among its cases.

If a verifier has a parameter `where`, which names the place of the answer, the gold is put there: `\boxed{46}`.
Otherwise the place is found in an accepted case: if the case's response contains the gold, any other text can replace
it. If neither holds (unit tests, a schema, a list of constraints), the gold is a rule instead of an answer, and no
answer can be written from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlpost.scoring.authoring import Case, Verifier

Params = Mapping[str, Any]


def text_of(gold: object) -> str | None:
    """Return the gold as a person would write it, if it is a single text or number; else None."""
    if isinstance(gold, bool) or not isinstance(gold, str | int | float):
        return None
    return str(gold).strip() or None


def gold_text(gold: object) -> str | None:
    """Return the same if it fits into a sentence; None for several lines, which are a solution, code or a table."""
    text = text_of(gold)
    return None if text is None or len(text.splitlines()) > 1 else text


def placed(answer: str, *, where: str) -> str:
    r"""Return a response whose final answer, read at `where`, is this text.

    Golds of data sets often have a box or an `Answer:` of their own; such a gold is left as it is.
    """
    if where in ("last_boxed", "auto") and r"\boxed{" not in answer:
        return rf"\boxed{{{answer}}}"
    return answer


def place_of(verifier: Verifier, params: Params) -> str | None:
    """Where the verifier reads the final answer under these parameters; None if it has no such parameter."""
    where = verifier.validated(params).get("where")
    return where if isinstance(where, str) else None


def gold_is_an_answer(verifier: Verifier) -> bool:
    """Whether responses state golds: the place of the answer has a name, or an accepted response contains the gold."""
    accepted = [case for case in verifier.cases if case.expect == "accept" and gold_text(case.gold) is not None]
    return any(place_of(verifier, case.params) is not None or _gold_in_response(case) for case in accepted)


def with_answer(verifier: Verifier, case: Case, answer: str) -> str | None:
    """Replace the answer in an accepted case's response by another one; None if the place of the answer is not
    known.
    """
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
