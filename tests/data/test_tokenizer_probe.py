"""A given tokenizer that hangs, fills the memory or ends its process is refused with a message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_models import byte_tokenizer

from rlpost.data import tokenizer_probe
from rlpost.data.tokenizer import encoding_errors, load_tokenizer
from rlpost.data.tokenizer_probe import refuse_dangerous_tokenizer
from rlpost.errors import ModelError

GROWS = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}
BACKTRACKS = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}


def tokenizer_dir(directory: Path, **changes: Any) -> Path:
    byte_tokenizer().save_pretrained(directory)
    file = directory / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return directory


def test_a_healthy_tokenizer_passes_and_so_does_a_folder_without_one(tmp_path: Path) -> None:
    assert refuse_dangerous_tokenizer(tokenizer_dir(tmp_path)) is None
    (tmp_path / "tokenizer.json").unlink()
    assert refuse_dangerous_tokenizer(tmp_path) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"normalizer": {"type": "Sequence", "normalizers": [GROWS] * 8}}, "it ended the process, or needed too much"),
        ({"pre_tokenizer": BACKTRACKS}, "PanicException: .*Regex search error"),
        ({"model": {"type": "WordPiece", "vocab": {"q": 0}, "unk_token": "?"}}, "WordPiece error"),
        ({"model": {"type": "Banana"}}, "must load and encode a short text within 1 GiB"),
    ],
    ids=["grows", "panics", "fails", "unknown"],
)
def test_a_tokenizer_that_fails_in_the_library_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer_probe, "MOST_MEMORY", 2**30)
    if changes.get("model", {}).get("type") == "WordPiece":
        changes["model"] |= {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    with pytest.raises(ModelError, match=words) as raised:
        refuse_dangerous_tokenizer(tokenizer_dir(tmp_path, **changes))
    assert "tokenizer.json must load and encode a short text" in str(raised.value)


def test_a_tokenizer_that_takes_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_probe, "LONGEST_S", 0.01)
    with pytest.raises(ModelError, match="a short text within 0 s; it did not"):
        refuse_dangerous_tokenizer(tokenizer_dir(tmp_path))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "chat_template.jinja"])
def test_a_pipe_among_the_files_is_refused_at_once(tmp_path: Path, name: str) -> None:
    tokenizer_dir(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(ModelError, match=f"must be regular files; {tmp_path / name} is not"):
        refuse_dangerous_tokenizer(tmp_path)


def test_a_text_on_which_a_tokenizer_panics_is_an_error_with_a_message(tmp_path: Path) -> None:
    tokenizer: Any = load_tokenizer(str(tokenizer_dir(tmp_path, pre_tokenizer=BACKTRACKS)), trust_remote_code=False)
    with (
        pytest.raises(ModelError, match=r"must encode every text of the data; on one it failed: .*Regex"),
        encoding_errors(),
    ):
        tokenizer("a" * 100 + "!")


def test_an_interrupt_is_no_failure_of_the_tokenizer() -> None:
    with pytest.raises(KeyboardInterrupt), encoding_errors():
        raise KeyboardInterrupt


def test_a_run_under_a_lower_limit_of_memory_tries_its_tokenizer_too(tmp_path: Path) -> None:
    directory = tokenizer_dir(tmp_path / "model")
    code = (
        "import resource, sys; from pathlib import Path\n"
        "resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))\n"
        "from rlpost.data.tokenizer_probe import refuse_dangerous_tokenizer\n"
        f"refuse_dangerous_tokenizer(Path({str(directory)!r}))\n"
    )
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert tried.returncode == 0, tried.stderr
