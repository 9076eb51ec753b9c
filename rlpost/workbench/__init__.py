"""Tools for authors of verifiers, used outside a run: self-test, fuzzing, audit, timing, rescoring, adapters to TRL."""
