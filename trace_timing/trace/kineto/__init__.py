"""Read Kineto JSON into exact columns."""
