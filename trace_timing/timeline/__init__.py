"""From the events of a trace to runs, stages, the rows of tables, and checks on all of them."""
