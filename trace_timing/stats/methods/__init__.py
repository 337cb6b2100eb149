"""Statistical methods, independent of traces."""
