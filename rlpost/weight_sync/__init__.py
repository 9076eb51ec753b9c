"""Learner -> generators: versioned weights with checksums and acknowledgements."""
