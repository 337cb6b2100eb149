"""The annotated trace: the original is unchanged, and a real viewer shows the added tracks."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.paths import SAMPLE_TRACES
from tests.report.catapult import imported, viewer_page
from trace_timing.errors import TraceError
from trace_timing.records.findings import FigureWarning
from trace_timing.report.viewer.annotate import events_span, write_annotated
from trace_timing.report.viewer.tracks import (
    FIRST_FLOW,
    FIRST_PID,
    FIRST_WARNING_TID,
    IDLE_TID,
    STAGES_TID,
    AnnotatedRun,
)
from trace_timing.timeline.build.model import RunTimeline, State
from trace_timing.timeline.build.runs import lay_out
from trace_timing.timeline.naming.stage_names import DEFAULT_STAGES
from trace_timing.trace.events import Trace
from trace_timing.trace.kineto.decoding import decode_loosely, ns_from_us_text
from trace_timing.trace.kineto.reader import read_trace

CHROMIUM = Path("/usr/bin/chromium")
SAMPLES = SAMPLE_TRACES / "traces"
WARNINGS = (
    FigureWarning(code="whole", message="in doubt", evidence="a figure", remedy="look again"),
    FigureWarning(code="part", message="too few", evidence="2", remedy="record", stage="decode"),
)


@pytest.fixture(scope="module")
def original() -> Path:
    return next(SAMPLES.glob("short*.json.gz"))


@pytest.fixture(scope="module")
def old(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same trace with times since 1970, as older Kineto writes them."""
    text = gzip.decompress(original.read_bytes()).decode()
    origin_us = 1_790_857_026_000_000

    def since_1970(match: re.Match[str]) -> str:
        return f'"ts": {int(match[1]) + origin_us}{match[2]}'

    path = tmp_path_factory.mktemp("old") / "old.json.gz"
    text = re.sub(r'"ts": (\d+)(\.\d+)', since_1970, text)
    path.write_bytes(gzip.compress(text.replace("baseTimeNanoseconds", "was").encode(), 9))
    return path


@pytest.fixture(scope="module", params=["original", "old"])
def trace_file(request: pytest.FixtureRequest) -> Path:
    file: Path = request.getfixturevalue(request.param)
    return file


@pytest.fixture(scope="module")
def trace(trace_file: Path) -> Trace:
    return read_trace(trace_file)


@pytest.fixture(scope="module")
def run(trace: Trace) -> RunTimeline:
    return lay_out(trace, DEFAULT_STAGES).runs[0]


@pytest.fixture(scope="module")
def annotated(
    trace_file: Path, trace: Trace, run: RunTimeline, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("annotated") / "annotated.json.gz"
    drawn = AnnotatedRun(run=run, warnings=WARNINGS)
    assert write_annotated(trace_file, trace, [drawn], path) > 0
    return path


def events_of(path: Path) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return events


def exact_ns(path: Path, tid: int) -> list[tuple[int, int]]:
    """Start and duration of our complete events of one thread, from their digits."""
    text = gzip.decompress(path.read_bytes())
    begin, end = events_span(text, path.name)
    ours = [
        (ns_from_us_text(e.ts), ns_from_us_text(e.dur))
        for e in decode_loosely(text[begin : end + 1])[0]
        if e.ph == "X" and e.pid == FIRST_PID and e.tid == tid
    ]
    return sorted((start, dur) for start, dur in ours if start is not None and dur is not None)


def test_the_original_text_stands_unchanged_around_ours(trace_file: Path, annotated: Path) -> None:
    before = gzip.decompress(trace_file.read_bytes())
    after = gzip.decompress(annotated.read_bytes())
    _, end = events_span(before, "before")
    assert after.startswith(before[:end])
    assert after.endswith(before[end:])


def test_it_grows_by_at_most_five_per_cent(trace_file: Path, annotated: Path) -> None:
    before, after = trace_file.read_bytes(), annotated.read_bytes()
    text_before = gzip.decompress(before)
    packed = len(after) / len(gzip.compress(text_before, 9))
    text = len(gzip.decompress(after)) / len(text_before)
    print(f"annotated ÷ original: text {text:.3f}, packed {packed:.3f}")
    assert 1 < text <= 1.05
    assert 1 < packed <= 1.05


def test_stage_events_tile_the_window_to_the_nanosecond(annotated: Path, run: RunTimeline) -> None:
    ns = exact_ns(annotated, STAGES_TID)
    assert ns[0][0] == run.window_start_ns
    assert [start + dur for start, dur in ns[:-1]] == [start for start, _ in ns[1:]]
    assert sum(dur for _, dur in ns) == run.window_end_ns - run.window_start_ns


def test_stages_say_their_busy_time_and_every_cause_of_the_rest(
    annotated: Path, run: RunTimeline
) -> None:
    stages = [e for e in events_of(annotated) if e.get("pid") == FIRST_PID and e["ph"] == "X"]
    stages = [e for e in stages if e["tid"] == STAGES_TID]
    tiles = run.tiles
    busy = (tiles.end_ns - tiles.start_ns)[tiles.state == State.BUSY].sum()
    assert sum(e["args"]["busy_ns"] for e in stages) == busy
    for event, (_, dur) in zip(stages, exact_ns(annotated, STAGES_TID), strict=True):
        parts = [ns for name, ns in event["args"].items() if name.endswith("_ns")]
        assert sum(parts) == dur
    assert {"prefill", "decode[1]", "vision_encoder"} <= {e["name"] for e in stages}


def test_idle_events_lie_where_the_device_idles(annotated: Path, run: RunTimeline) -> None:
    idle = exact_ns(annotated, IDLE_TID)
    tiles = run.tiles
    gaps = (tiles.end_ns - tiles.start_ns)[tiles.state != State.BUSY]
    shown = sum(dur for _, dur in idle)
    print(f"{len(idle)} stretches hold {shown / gaps.sum():.1%} of the idle time")
    assert shown > 0.3 * gaps.sum()  # size allows no more; the sums stand in the stages' events
    ops = sorted(zip(run.ops.start_ns.tolist(), run.ops.end_ns.tolist(), strict=True))
    assert not any(start < gap + dur and gap < end for gap, dur in idle[:50] for start, end in ops)


def test_each_warning_has_a_track_over_what_it_warnings(annotated: Path, run: RunTimeline) -> None:
    (whole,) = exact_ns(annotated, FIRST_WARNING_TID)
    (part,) = exact_ns(annotated, FIRST_WARNING_TID + 1)
    assert whole == (run.window_start_ns, run.window_end_ns - run.window_start_ns)
    decode = [i for i, key in enumerate(run.keys) if key.stage == "decode"]
    tiles = [i for i, key in enumerate(run.tiles.key.tolist()) if key in decode]
    assert part[0] == run.tiles.start_ns[tiles[0]]
    assert sum(part) == run.tiles.end_ns[tiles[-1]]


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    path = tmp_path_factory.mktemp("viewer") / "viewer.html"
    path.write_text(viewer_page())
    with sync_api.sync_playwright() as playwright:
        executable = str(CHROMIUM) if CHROMIUM.exists() else None
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(path.as_uri())
        yield page
        browser.close()


@pytest.mark.slow
@pytest.mark.browser
def test_chromes_trace_viewer_imports_our_tracks_without_a_complaint(
    viewer: Any, trace_file: Path, annotated: Path
) -> None:
    before, after = imported(viewer, trace_file), imported(viewer, annotated)
    assert after["warnings"] == before["warnings"]  # of Kineto's own flows
    assert before["slices"] == []
    complete = [e for e in events_of(annotated) if e["ph"] == "X" and e.get("pid") == FIRST_PID]
    assert len(after["slices"]) == len(complete)
    threads = Counter(slice_["thread"] for slice_ in after["slices"])
    assert set(threads) == {
        "stages (window)",
        "why the GPU idles (longest)",
        "warning: whole",
        "warning: part",
    }
    assert all(slice_["top"] for slice_ in after["slices"])


@pytest.mark.browser
def test_its_flows_lead_from_each_stage_to_ops_launched_in_it(
    viewer: Any, annotated: Path, run: RunTimeline
) -> None:
    flows = imported(viewer, annotated)["flows"]
    ends = [e for e in events_of(annotated) if e.get("id", 0) >= FIRST_FLOW]
    assert len(flows) == len(ends) / 2
    assert {flow["from"]["thread"] for flow in flows} == {"stages (window)"}
    kinds = Counter(flow["to"]["category"] for flow in flows)
    ops = kinds["kernel"] + kinds["gpu_memcpy"] + kinds["gpu_memset"]
    # The viewer's float64 holds times since 1970 to 0.25 µs: some op is too short for it then.
    assert ops >= 0.95 * len(flows)
    steps = {k.step for k in run.keys if k.stage == "decode"}
    assert {f"decode[{step}]" for step in steps} <= {flow["from"]["title"] for flow in flows}


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
    ours = [e for e in events_of(annotated) if e.get("cat") == "trace-timing" and e["ph"] == "X"]
    assert counts == [len(ours)]
    assert errors == []


@pytest.mark.parametrize(
    ("text", "span"),
    [
        (b'{"traceEvents": [{"a": [1]}], "z": [2, [3]]}', (16, 27)),
        (b'{"a": [1], "traceEvents": []}', (26, 27)),
        (b'[{"ph": "X"}]', (0, 12)),
    ],
)
def test_the_events_are_found_whatever_stands_around(text: bytes, span: tuple[int, int]) -> None:
    assert events_span(text, "t.json") == span


def test_a_trace_that_was_cut_short_is_refused() -> None:
    with pytest.raises(TraceError, match="cannot be annotated"):
        events_span(b'{"traceEvents": [{"ph": "X"', "t.json")
