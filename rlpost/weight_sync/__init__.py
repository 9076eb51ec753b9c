"""Sends weights from the learner to the generators: versioned, with checksums and acknowledgements."""
