"""Further pages of a report: why, statistics, comparison, audit, older results."""
