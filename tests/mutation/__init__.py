"""Mutation testing: do the tests notice a small change? See docs/mutation-testing.md."""
