"""`python -m rlpost` is the `rlpost` command."""

from rlpost.cli.main import app

if __name__ == "__main__":
    app()
