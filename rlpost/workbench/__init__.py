"""Tools for authors of verifiers, outside a run: self-test, fuzzing, audit, timing, rescoring, adapters to TRL."""
