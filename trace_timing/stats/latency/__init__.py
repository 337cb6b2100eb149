"""How long the stages of a sample take, by which evidence; the sample table."""
