"""Held-out evaluation with the same generator and verifiers that training uses."""
