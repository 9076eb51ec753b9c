"""What a verifier's libraries lack in this environment, and the command that installs them."""

from __future__ import annotations

from importlib.metadata import metadata

from rlpost.scoring.authoring import Verifier


def why_it_cannot_run(verifier: Verifier) -> str | None:
    """What this environment lacks to import the verifier's libraries, and how to get it; None where nothing."""
    missing = verifier.missing_modules()
    if not missing:
        return None
    extra = verifier.spec.extra
    return f"it needs {', '.join(missing)}: {how_to_install(extra) if extra else 'install what provides it'}"


def how_to_install(extra: str) -> str:
    """The command that brings a verifier's libraries; `extra` is one of rlpost's, or a distribution."""
    ours = metadata("rlpost").get_all("Provides-Extra") or []
    return f"pip install 'rlpost[{extra}]'" if extra in ours else f"pip install {extra}"
