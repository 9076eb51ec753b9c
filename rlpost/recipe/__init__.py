"""The typed mirror of recipe and cluster YAML: what may be written, and every default. No torch, no ray."""
