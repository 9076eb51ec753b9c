"""The command line: a thin layer that imports no torch until a command needs it."""
