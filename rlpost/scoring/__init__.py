"""The machinery that runs `rewards/`: authoring helpers, routing, and killable worker processes."""
