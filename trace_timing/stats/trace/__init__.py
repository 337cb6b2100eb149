"""What one trace yields: its rows, warnings, and what bounds each stage."""
