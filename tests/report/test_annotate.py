"""The annotated trace: the original untouched, our tracks beside it, valid trace events."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from trace_timing.errors import TraceError
from trace_timing.records import Doubt
from trace_timing.report.annotate import FIRST_PID, end_of_events, write_annotated
from trace_timing.timeline.layout import RunTimeline
from trace_timing.timeline.runs import lay_out
from trace_timing.timeline.stages import DEFAULT_STAGES
from trace_timing.trace.kineto import read_trace

DOUBT = Doubt(code="test_doubt", message="in doubt", evidence="a figure", remedy="look again")


@pytest.fixture(scope="module")
def original(h200: Path) -> Path:
    return h200 / "llava_llama1b_user_scope.json.gz"


@pytest.fixture(scope="module")
def run(original: Path) -> RunTimeline:
    return lay_out(read_trace(str(original)), DEFAULT_STAGES).runs[0]


@pytest.fixture(scope="module")
def annotated(original: Path, run: RunTimeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("annotated") / "annotated.json.gz"
    assert write_annotated(original, [run], path, doubts=[DOUBT]) > 0
    return path


def events_of(path: Path) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return events


def test_the_original_events_stand_unchanged_before_ours(original: Path, annotated: Path) -> None:
    before, after = events_of(original), events_of(annotated)
    assert after[: len(before)] == before
    assert all(event["pid"] >= FIRST_PID for event in after[len(before) :])


def test_it_grows_by_at_most_five_per_cent(original: Path, annotated: Path) -> None:
    grown = annotated.stat().st_size / original.stat().st_size
    print(f"annotated ÷ original: {grown:.3f}")
    text = len(gzip.decompress(annotated.read_bytes())) / len(
        gzip.decompress(original.read_bytes())
    )
    assert text <= 1.05
    assert grown <= 1.05


def test_stage_events_tile_the_window_to_the_nanosecond(annotated: Path, run: RunTimeline) -> None:
    stages = [e for e in events_of(annotated) if e["pid"] == FIRST_PID and e["tid"] == 0]
    timed = [e for e in stages if e["ph"] == "X"]
    ns = [(round(e["ts"] * 1000), round(e["dur"] * 1000)) for e in timed]
    assert ns[0][0] == run.window_start_ns
    assert [start + dur for start, dur in ns[:-1]] == [start for start, _ in ns[1:]]
    assert sum(dur for _, dur in ns) == run.window_end_ns - run.window_start_ns
    assert {e["name"] for e in timed} >= {"prefill", "decode[1]", "decode[11]", "vision"}


def test_every_added_event_has_the_fields_of_its_phase(annotated: Path) -> None:
    ours = [e for e in events_of(annotated) if isinstance(e["pid"], int) and e["pid"] >= FIRST_PID]
    assert {e["ph"] for e in ours} == {"X", "M"}
    for event in ours:
        assert {"pid", "tid", "name", "ts"} <= set(event)
        assert event["ph"] == "M" or event["dur"] >= 0
    assert any(e["name"] == "doubt: test_doubt" for e in ours)


def test_perfettos_trace_processor_reads_our_tracks(annotated: Path) -> None:
    perfetto = pytest.importorskip("perfetto.trace_processor")
    try:
        processor = perfetto.TraceProcessor(trace=str(annotated))
    except Exception as error:  # the binary is fetched on first use
        pytest.skip(f"no trace processor to be had: {type(error).__name__}")
    rows = processor.query("select count(*) as n from slice where category = 'trace-timing'")
    counts = [row.n for row in rows]
    errors = list(processor.query("select name from stats where severity = 'error' and value > 0"))
    processor.close()
    ours = [e for e in events_of(annotated) if e.get("cat") == "trace-timing"]
    assert counts == [len(ours)]
    assert errors == []


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (b'{"traceEvents": [{"a": [1]}], "z": [2, [3]]}', 27),
        (b'{"a": [1], "traceEvents": []}', 27),
        (b'[{"ph": "X"}]', 12),
    ],
)
def test_the_end_of_the_events_is_found_whatever_follows(text: bytes, at: int) -> None:
    assert end_of_events(text, "t.json") == at


def test_a_trace_that_was_cut_short_is_refused() -> None:
    with pytest.raises(TraceError, match="cannot be annotated"):
        end_of_events(b'{"traceEvents": [{"ph": "X"', "t.json")
