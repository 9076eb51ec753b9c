"""`rlpost reward ...`: write, test, audit, attack, time and compare verifiers. Each command has its own file."""
