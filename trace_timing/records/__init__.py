"""Records in JSON: manifests and run records (recording writes, analysis reads), warnings."""
