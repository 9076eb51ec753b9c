"""Prompts -> scored rollout groups: the vLLM generator, the collector, and the bounded buffer."""
