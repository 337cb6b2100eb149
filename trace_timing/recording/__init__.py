"""Record generate() calls: hooks on the model, profiler sessions, controls, files."""
