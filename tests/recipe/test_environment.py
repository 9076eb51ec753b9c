"""Values from the environment are recognised wherever they are quoted, and ordinary words are left alone."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from rlpost.recipe.environment import hidden, hidden_in, read_variable
from rlpost.recipe.load import load_recipe

VALID = Path(__file__).parent / "valid.yaml"


@pytest.fixture(autouse=True)
def nothing_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlpost.recipe.environment._values", {})
    monkeypatch.setattr("rlpost.recipe.environment._open", set())


def set_and_take(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
        assert read_variable(name) == value


def test_a_value_is_hidden_as_it_is_and_as_it_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    value = 'pass"word\\\u00e4'
    set_and_take(monkeypatch, KEY=value)
    assert hidden(f"found {value}: refused") == "found ${env:KEY}: refused"
    assert hidden(f"params {{'key': {value!r}}}") == "params {'key': '${env:KEY}'}"
    assert hidden(r'{"key": "pass\"word\\\u00e4"}') == '{"key": "${env:KEY}"}'


def test_a_value_inside_a_longer_one_does_not_leave_the_rest_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    set_and_take(monkeypatch, SHORT="abcdef", LONG="abcdef-ghijkl")
    assert hidden("abcdef-ghijkl and abcdef") == "${env:LONG} and ${env:SHORT}"


def test_numbers_and_short_words_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    set_and_take(monkeypatch, STEPS="12345", EMPTY="")
    assert hidden("12345 steps") == "12345 steps"


def test_texts_inside_records_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    set_and_take(monkeypatch, KEY="hunter22")
    record = {"reason": "hunter22 refused", "scores": (1.5, None), "tags": ["a", "hunter22"], "n": {"deep": "hunter22"}}
    assert hidden_in(record) == {
        "reason": "${env:KEY} refused",
        "scores": [1.5, None],
        "tags": ["a", "${env:KEY}"],
        "n": {"deep": "${env:KEY}"},
    }


def test_what_names_the_runs_folder_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/big/disk")
    monkeypatch.setenv("TOKEN", "hunter22")
    load_recipe(VALID, overrides=["output=${env:SCRATCH}/run", "notes.sources.token=${env:TOKEN}"])
    assert hidden("model in /big/disk/run, token hunter22") == "model in /big/disk/run, token ${env:TOKEN}"


KEY = "sk-Zoë/7+&<a>==b?c"


@pytest.mark.parametrize(
    "encode",
    [
        lambda key: quote(key, safe=""),
        lambda key: quote(key, safe="").lower(),
        quote,
        quote_plus,
        html.escape,
        lambda key: key.encode().hex(),
        lambda key: base64.b64encode(key.encode()).decode(),
        lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
        lambda key: base64.b64encode(f"me:{key}".encode()).decode(),
        lambda key: base64.b64encode(f"user:{key}!".encode()).decode(),
        lambda key: base64.b64encode(f"user1:{key}".encode()).decode(),
    ],
)
def test_an_encoded_value_is_hidden(monkeypatch: pytest.MonkeyPatch, encode: Callable[[str], str]) -> None:
    set_and_take(monkeypatch, KEY=KEY)
    text = hidden(f"Authorization: {encode(KEY)} was refused")
    assert "${env:KEY}" in text
    # Characters of an encoding that also hold bits of what surrounds the value may stay.
    assert len(text) <= len("Authorization: ${env:KEY} was refused") + 12


@pytest.mark.parametrize("kept", range(6, len("hunter22-and-more")))
def test_the_beginning_of_a_value_is_hidden_where_a_text_was_cut(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    set_and_take(monkeypatch, KEY="hunter22-and-more")
    cut = "hunter22-and-more"[:kept]
    assert hidden(f"replied {{'key': {cut}") == "replied {'key': ${env:KEY}"
    assert hidden(f"replied '{cut}': tried 3 times") == "replied '${env:KEY}': tried 3 times"


def test_a_text_that_merely_begins_like_a_value_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    set_and_take(monkeypatch, URL="http://127.0.0.1:8000/v1/with/a/long/path", FOLDER="/big/disk/models")
    assert (
        hidden("see http://example.org and /big/disk/others here") == "see http://example.org and /big/disk/others here"
    )
