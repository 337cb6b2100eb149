"""The profiler's effect on the process: detaching, launch costs, machine state."""
