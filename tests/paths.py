"""Folders of the repository that tests read."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SAMPLE_TRACES = REPOSITORY / "sample_traces"
DATA = REPOSITORY / "tests" / "data"
