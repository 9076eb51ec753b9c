"""The command group `rlpost reward`."""

from __future__ import annotations

import typer

from rlpost.cli.reward.audit import audit_
from rlpost.cli.reward.bench import bench
from rlpost.cli.reward.fuzz import fuzz_
from rlpost.cli.reward.list import list_
from rlpost.cli.reward.new import new
from rlpost.cli.reward.rescore import rescore_
from rlpost.cli.reward.score import score
from rlpost.cli.reward.show import show
from rlpost.cli.reward.test import test

reward_app = typer.Typer(no_args_is_help=True, help="Write, test, audit, attack, time and compare verifiers.")
for name, command in (
    ("new", new),
    ("list", list_),
    ("show", show),
    ("test", test),
    ("score", score),
    ("audit", audit_),
    ("fuzz", fuzz_),
    ("bench", bench),
    ("rescore", rescore_),
):
    reward_app.command(name)(command)
