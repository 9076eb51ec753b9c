"""Overlaps between texts: evaluation sets that appear in training data, and rows that nearly repeat each other."""
