"""The Python API: what `import trace_timing` offers."""
