"""Make the runs of a sample: warm-up, controls, recorded runs."""
