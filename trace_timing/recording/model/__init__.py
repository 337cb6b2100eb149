"""The model: where its stages are, loading, presets, description."""
