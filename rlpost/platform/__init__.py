"""Adaptations to the machine: number formats of its processor, idle threads, the end of a process, a full disk."""
