"""analyze() and what it needs: inputs, workers, caches, table files."""
