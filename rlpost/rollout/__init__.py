"""Turns prompts into scored rollout groups: the vLLM generator, the collector, and the bounded buffer."""
