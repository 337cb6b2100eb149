"""What recording writes and analysis reads: manifests, run records, warnings, in JSON."""
