"""Marks of verdicts, which steer a run, are kept apart from tags, which are for people."""

from __future__ import annotations

import pytest

from rlpost.records import Mark, Verdict
from rlpost.scoring.worker_messages import ReplyNumber, decode_verdict, encode_verdict


@pytest.mark.parametrize("mark", list(Mark))
def test_a_mark_comes_back_from_a_worker_as_a_mark(mark: Mark) -> None:
    verdict = Verdict(score=0.0, tags=("hedged",), marks=(mark,))
    number = ReplyNumber(batch=3, place=1)
    decoded = decode_verdict(encode_verdict(verdict, number=number), number=number)
    assert decoded == verdict
    assert type(decoded.marks[0]) is Mark


@pytest.mark.parametrize("mark", list(Mark))
def test_a_mark_that_is_written_as_a_tag_is_refused_with_the_right_way_to_say_it(mark: Mark) -> None:
    with pytest.raises(ValueError, match=rf"write marks=\(Mark\.{mark.name},\)"):
        Verdict(score=0.0, tags=(mark.value,))
