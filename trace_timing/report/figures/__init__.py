"""The figures, as plotly figures."""
