"""Runs the stages in order: artifacts, lineage, reuse of finished stages, gates between stages."""
