"""Statistical methods that know nothing of traces."""
