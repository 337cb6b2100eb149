"""What is put on a model so that each generate() reports its stages."""
