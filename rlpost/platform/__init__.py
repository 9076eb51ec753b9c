"""What a machine forces on a run: number formats of a processor, idle threads, the end of a process, a full disk."""
