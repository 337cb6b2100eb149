"""The model: where its stages are, how it is loaded, what it is made of."""
