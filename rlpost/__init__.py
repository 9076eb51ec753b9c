"""rlpost: post-train a language model for a domain, from continued pre-training to RL with verifiable rewards."""

__version__ = "0.1.0"
