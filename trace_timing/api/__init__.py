"""What `import trace_timing` offers: capture() and analyze()."""
