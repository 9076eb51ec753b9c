"""The machinery that runs the verifiers of `rewards/`: authoring helpers, routing, and killable worker processes."""
