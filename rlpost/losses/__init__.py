"""Pure tensor functions that turn log-probabilities and advantages into a summed loss. Each family has its own file."""
