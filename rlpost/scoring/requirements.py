"""Missing libraries of a verifier in this environment, and the command that installs them."""

from __future__ import annotations

from importlib.metadata import metadata

from rlpost.scoring.authoring import Verifier


def why_it_cannot_run(verifier: Verifier) -> str | None:
    """Name the missing libraries of a verifier and how to install them; None if nothing is missing."""
    missing = verifier.missing_modules()
    if not missing:
        return None
    extra = verifier.spec.extra
    return f"it needs {', '.join(missing)}: {how_to_install(extra) if extra else 'install what provides it'}"


def how_to_install(extra: str) -> str:
    """The command that installs a verifier's libraries; `extra` is an extra of rlpost, or a distribution."""
    ours = metadata("rlpost").get_all("Provides-Extra") or []
    return f"pip install 'rlpost[{extra}]'" if extra in ours else f"pip install {extra}"
