"""The command group `rlpost data`."""
