"""One file = one stage, its loop read top to bottom."""
