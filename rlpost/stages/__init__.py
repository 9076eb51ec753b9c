"""Each file contains one stage, whose loop can be read from top to bottom."""
