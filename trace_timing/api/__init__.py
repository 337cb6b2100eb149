"""What `import trace_timing` offers: capture(), timed() and analyze()."""
