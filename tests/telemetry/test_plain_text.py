"""A terminal obeys nothing that a model, a data set or a service wrote."""

import pytest

from rlpost.telemetry.console import Console
from rlpost.telemetry.plain_text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("x\ty\n", "x\ty\n"),
        ("\u202egnp", "\\u202egnp"),
        ("\r\x07\u00fc", "\\r\\x07\u00fc"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_the_console_writes_it_out(capsys: pytest.CaptureFixture[str]) -> None:
    Console().say("grpo: \x1b]0;title\x07")
    Console().table("scores", ["stage"], [["\x1b[31mred"]])
    told = capsys.readouterr().out
    assert "grpo: \\x1b]0;title\\x07" in told
    assert "\\x1b[31mred" in told
    assert "\x1b]" not in told
