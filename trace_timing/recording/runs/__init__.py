"""Making runs: warm-up, controls, recorded runs."""
