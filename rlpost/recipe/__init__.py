"""The typed schema of recipe and cluster YAML: all keys, and every default. Imports neither torch nor ray."""
