"""Metrics, the account of the time in a step, and the console."""
