"""Rows of data sets -> prompts and train rows: sources, chat templates and loss masks, preference pairs, packing."""
