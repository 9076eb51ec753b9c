from __future__ import annotations

import sys
from pathlib import Path

# The suite is a command; its scripts find each other beside themselves, and so do their tests.
sys.path += [str(Path(__file__).parent), str(Path(__file__).parent / "inject")]
