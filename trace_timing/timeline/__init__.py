"""Events → stages: attribution, tiling, overhead model and replay, tables."""
