"""The figures, as plotly.js takes them."""
