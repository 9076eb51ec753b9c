"""Metrics, the account of where a step's time goes, and the console."""
