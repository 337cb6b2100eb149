"""The results of one trace: table rows, checks, warnings, and what bounds each stage."""
