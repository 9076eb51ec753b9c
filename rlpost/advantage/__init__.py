"""Scores of one group -> advantage of each sample. Pure numpy, one scheme a file."""
