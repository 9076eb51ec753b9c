"""Pure tensor functions that turn log-probabilities and credit into a summed loss. One family a file."""
