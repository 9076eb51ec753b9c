"""quarantine.jsonl: rows whose reference the verifier cannot read, for a person to repair or remove."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlpost.recipe.environment import hidden_in
from rlpost.records import Fault, Prompt, RolloutGroup, Verdict

FILE_NAME = "quarantine.jsonl"


class Quarantine:
    """Writes each row once, even if a stage takes several runs. Only one thread may use it at a time.

    Args:
        directory: The folder of the file, which is created with the first row. None keeps the rows in memory only.
    """

    def __init__(self, directory: Path | None) -> None:
        self._path = None if directory is None else directory / FILE_NAME
        self._reasons: dict[str, str] = {}
        if self._path is not None and self._path.exists():
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n")]
            if len(whole) < len(lines):  # the last line was incomplete when the run was killed
                self._path.write_text("".join(whole), encoding="utf-8")
            records: list[dict[str, Any]] = [json.loads(line) for line in whole]
            self._reasons = {record["id"]: record["reason"] for record in records}

    def __len__(self) -> int:
        return len(self._reasons)

    def __contains__(self, prompt_id: str) -> bool:
        return prompt_id in self._reasons

    def reason(self, prompt_id: str) -> str:
        """Return the reason why a row is quarantined."""
        return self._reasons[prompt_id]

    def add(self, prompt: Prompt, unreadable: Verdict) -> None:
        """Quarantine a row, with the gold fault that it got."""
        if prompt.id in self._reasons:
            return
        self._reasons[prompt.id] = unreadable.reason
        if self._path is None:
            return
        record = {
            "id": prompt.id,
            "dataset": prompt.dataset,
            "verifier": unreadable.version,
            "reason": unreadable.reason,
            "gold": prompt.gold,
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(hidden_in(record), default=repr) + "\n")

    def add_from(self, groups: Sequence[RolloutGroup]) -> None:
        """Quarantine the rows of which any answer got a gold fault."""
        for group in groups:
            unreadable = next((verdict for verdict in group.verdicts if verdict.fault is Fault.GOLD), None)
            if unreadable is not None:
                self.add(group.prompt, unreadable)
