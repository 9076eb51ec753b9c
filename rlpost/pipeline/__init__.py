"""Stages in order: artifacts, lineage, skip what is finished, gates between stages."""
