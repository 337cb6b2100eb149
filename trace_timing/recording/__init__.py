"""Records generate() calls: ranges in the model, the profiler session, the control, files."""
