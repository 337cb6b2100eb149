"""Traces examined one by one: what is refused has one result, the others all their checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.paths import SAMPLE_TRACES
from trace_timing.api.analysis.examine import examine
from trace_timing.errors import NothingReadError
from trace_timing.timeline.integrity.table import RUN_CHECKS, TIMELINE_CHECKS
from trace_timing.trace.integrity.table import TRACE_CHECKS

SAMPLES = SAMPLE_TRACES / "traces"


def test_a_trace_that_is_refused_has_one_result_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_text('{"traceEvents": [')
    (found,) = examine(path)
    (result,) = found.results
    assert (result.code, result.level, found.level) == ("refused", "FAIL", "FAIL")
    assert "cut.json" in found.trace
    assert result.evidence
    assert result.remedy


def test_a_sound_trace_has_every_check() -> None:
    (path,) = SAMPLES.glob("short*.json.gz")
    (found,) = examine(path)
    checks = {check.code for check in (*TRACE_CHECKS, *TIMELINE_CHECKS, *RUN_CHECKS)}
    assert checks <= {result.code for result in found.results}
    assert found.level == "PASS"


def test_a_bad_trace_does_not_keep_the_others_from_being_looked_at(tmp_path: Path) -> None:
    (good,) = SAMPLES.glob("short*.json.gz")
    bad = tmp_path / "bad.json"
    bad.write_text("no JSON")
    assert sorted(found.level for found in examine(bad, good)) == ["FAIL", "PASS"]


def test_no_trace_at_all_is_said() -> None:
    with pytest.raises(NothingReadError, match="no trace"):
        list(examine())
