"""Events → stages: attribution, tiling, cutting as a control is cut, tables."""
