"""Verifiers that need something of the machine, for the scenarios in which it has none left."""

from __future__ import annotations

import os
import resource
import tempfile

from rlpost.records import Sample
from rlpost.scoring.authoring import verifier


@verifier(name="chaos.writes", version="1", timeout_s=20.0, memory_mib=512, requires=())
def writes(sample: Sample) -> float:
    """Keep the response in a temporary file, as a verifier that starts a program does."""
    with tempfile.NamedTemporaryFile(dir=sample.meta["folder"]) as file:
        file.write(sample.response.encode() * 2**20)
    return float(sample.response)


@verifier(name="chaos.opens", version="1", timeout_s=20.0, memory_mib=512, requires=())
def opens(sample: Sample) -> float:
    """Open a hundred files at once, with room for as many as the row says."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (sample.meta["files"], before[1]))
    opened: list[int] = []
    try:
        for _ in range(100):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for file in opened:
            os.close(file)
    return float(sample.response)


@verifier(name="chaos.forks", version="1", timeout_s=20.0, memory_mib=512, requires=())
def forks(sample: Sample) -> float:
    """Let a child come back from the call with another score, where the row says so."""
    if sample.meta["forks"] and os.fork() == 0:
        return 1.0 - float(sample.response)
    return float(sample.response)
