"""A pattern that fits nothing is told with the names that the trace has."""

from __future__ import annotations

from pathlib import Path

import pytest

import trace_timing
from tests.paths import SAMPLE_TRACES
from trace_timing.records.findings import FigureWarning
from trace_timing.report.findings import findings

TRACE = next((SAMPLE_TRACES / "traces").glob("short*"))


def warning(folder: Path, toml: str) -> FigureWarning | None:
    """The warning about its patterns in the analysis of the short sample with this stage map."""
    file = folder / "stages.toml"
    file.write_text(f"[stages]\n{toml}\n")
    found = trace_timing.analyze(TRACE, stages=file).warnings
    return next((d for d in found if d.code == "pattern_fits_nothing"), None)


def test_the_pattern_and_the_names_seen_are_told(tmp_path: Path) -> None:
    told = warning(tmp_path, 'decode = "step_.*"')
    assert told is not None
    assert "decode = step_.*" in told.evidence
    assert "decode[1]" in told.evidence
    assert "whole" in told.remedy


@pytest.mark.parametrize("toml", ['prefill = "prefill"', 'generate = "generate"'])
def test_patterns_that_fit_give_no_warning(tmp_path: Path, toml: str) -> None:
    assert warning(tmp_path, toml) is None


def test_a_pattern_that_takes_ranges_of_other_stages_is_told(tmp_path: Path) -> None:
    file = tmp_path / "stages.toml"
    file.write_text('[stages]\nprefill = ".*"\n')
    analysis = trace_timing.analyze(TRACE, stages=file)
    (told,) = (w for w in analysis.warnings if w.code == "pattern_fits_other_stage")
    assert "prefill = .* fits" in told.evidence
    assert "decode[1]" in told.evidence
    said = findings(analysis.report_data(pages=False))
    assert not any("one output token" in sentence for sentence in said)
    assert "No range was read as a decode step, which the warnings doubt." in said
