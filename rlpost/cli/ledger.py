"""`rlpost ledger ...`: accounts for every prompt of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlpost.errors import LedgerError
from rlpost.pipeline.ledger_check import StageCheck, check_ledgers
from rlpost.rollout.ledger_audit import LedgerAudit

SHOWN = 20
"""Most findings of one stage that are shown."""

ledger_app = typer.Typer(no_args_is_help=True, help="The outcome of every prompt of a run.")


@ledger_app.command()
def verify(
    run: Annotated[Path, typer.Argument(help="A run's folder; the run may still be going on.", show_default=False)],
) -> None:
    """Prove from ledger.jsonl that no RL stage lost a prompt, trained one twice, or trained one too late.

    Exits with code 1 if anything does not hold.
    """
    checks = check_ledgers(run)
    typer.echo("\n".join([line_of(check) for check in checks] or [f"{run}: the recipe has no RL stage"]))
    broken = [check for check in checks if check.audit is not None and check.audit.findings]
    if broken:
        raise LedgerError(_told(broken))


def line_of(check: StageCheck) -> str:
    """Describe the check of one stage in a line."""
    if check.audit is None:
        return f"{check.folder}: has not begun"
    said = f"{check.folder}: {'finished' if check.is_finished else 'under way'}; {totals(check.audit)}"
    if check.is_finished:
        return said
    return f"{said}; compared with {f'checkpoint {check.checkpoint}' if check.checkpoint else 'no checkpoint yet'}"


def totals(audit: LedgerAudit) -> str:
    """Count the prompts by their outcome."""
    reasons = ", ".join(f"{reason or 'no reason'} {count}" for reason, count in sorted(audit.dropped.items()))
    dropped = f"{audit.dropped.total()} dropped" + (f" ({reasons})" if reasons else "")
    return (
        f"{_counted(audit.steps, 'step')}, {_counted(audit.trained, 'prompt')} trained with "
        f"{_counted(audit.samples, 'sample')}, {dropped}, {audit.open} open"
    )


def _told(broken: list[StageCheck]) -> str:
    lines = ["a ledger must account for every prompt, once; found:"]
    for check in broken:
        assert check.audit is not None
        findings = check.audit.findings
        lines += [f"  {check.folder}: {finding}" for finding in findings[:SHOWN]]
        lines += [f"  {check.folder}: and {len(findings) - SHOWN} more"] if len(findings) > SHOWN else []
    lines.append(
        f"unless the recipe or a file was changed by hand, this is a bug of rlpost: keep the folder for a report; "
        f"`rlpost run --from {broken[0].name}` trains the stage again"
    )
    return "\n".join(lines)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
