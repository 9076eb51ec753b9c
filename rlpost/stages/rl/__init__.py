"""Reinforcement learning, GRPO and PPO: read `loop` first; the other files are its parts."""
