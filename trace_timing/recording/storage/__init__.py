"""The capture directory: records and traces on disk."""
