"""Loads a given tokenizer.json in a process of its own first: a broken one can hang, fill the memory, or end its
process from inside the library.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from rlpost.errors import ModelError

TOKENIZER_FILE = "tokenizer.json"
LONGEST_S = 60.0
"""Longest time to load a tokenizer and to encode a short text; the largest in use need a few seconds."""
MOST_MEMORY = 8 * 2**30
"""Most bytes of address space meanwhile; the largest in use need less than one GiB."""
_TEXT = "The 12 quick foxes (naïve, 日本語) aren't here:\n\t" + "a" * 100 + "!  \\boxed{3.5}\n"
_FILE_KINDS = frozenset({".json", ".jinja", ".model", ".txt", ".py"})


def refuse_dangerous_tokenizer(directory: Path) -> None:
    """Check that the files beside a tokenizer are regular ones, and that it loads and encodes a short text.

    Raises:
        ModelError: a file is a pipe or a device, or the tokenizer does not load and encode within the limits.
    """
    for file in sorted(directory.iterdir()):
        if file.suffix in _FILE_KINDS and file.exists() and not file.is_file():
            raise ModelError(f"the files of a model must be regular files; {file} is not: remove it")
    file = directory / TOKENIZER_FILE
    if not file.is_file():
        return
    command = [sys.executable, "-m", __name__, str(file), str(MOST_MEMORY)]
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false", "RUST_BACKTRACE": "0"}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=LONGEST_S, check=False, env=environment, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"{file} must load and encode a short text within {LONGEST_S:.0f} s; it did not: give another tokenizer"
        ) from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        found = lines[-1] if lines and done.returncode > 0 else "it ended the process, or needed too much memory"
        limit = f"{MOST_MEMORY // 2**30} GiB"
        raise ModelError(f"{file} must load and encode a short text within {limit}; {found}: give another tokenizer")


def _probe(file: str, *, most_memory: int) -> None:
    # Whoever started the run may have set a lower limit, which nobody may raise.
    _, allowed = resource.getrlimit(resource.RLIMIT_AS)
    most = most_memory if allowed == resource.RLIM_INFINITY else min(most_memory, allowed)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from tokenizers import Tokenizer

    Tokenizer.from_file(file).encode(_TEXT)


if __name__ == "__main__":
    _probe(sys.argv[1], most_memory=int(sys.argv[2]))
