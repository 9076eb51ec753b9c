"""The command line: a thin skin, torch-free until a command needs torch."""
