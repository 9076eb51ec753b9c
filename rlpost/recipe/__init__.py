"""The typed mirror of recipe and cluster YAML: what may be written, and every default, in one place. No torch, no ray."""
