"""annotate(): a copy of each trace with its own runs' warnings."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.paths import SAMPLE_TRACES
from trace_timing.api.output.annotate import annotate
from trace_timing.records.findings import FigureWarning
from trace_timing.trace.files.store import write_store
from trace_timing.trace.kineto.reader import read_trace

WARNINGS = [
    FigureWarning(code="of_all", message="m", evidence="e", remedy="r"),
    FigureWarning(
        code="of_this", message="m", evidence="e", remedy="r", sample_id="short", repeat=0
    ),
    FigureWarning(code="of_another", message="m", evidence="e", remedy="r", sample_id="long"),
]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shortest sample of a recorded capture."""
    folder = tmp_path_factory.mktemp("capture")
    shutil.copy(SAMPLE_TRACES / "manifest.json", folder)
    lines = (SAMPLE_TRACES / "runs.rank0.jsonl").read_text().splitlines()
    short = [line for line in lines if json.loads(line)["sample_id"] == "short"]
    (folder / "runs.rank0.jsonl").write_text("\n".join(short) + "\n")
    (folder / "traces").mkdir()
    shutil.copy(next((SAMPLE_TRACES / "traces").glob("short*")), folder / "traces")
    return folder


def tracks(path: Path) -> set[str]:
    """Names of the threads that we added."""
    events: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    names = [e for e in events if e["name"] == "thread_name" and e["ph"] == "M"]
    return {e["args"]["name"] for e in names if e["pid"] == 900_000_000}


def test_a_recorded_trace_gets_its_stages_and_its_own_warnings(
    capture: Path, tmp_path: Path
) -> None:
    (written,) = annotate([str(capture)], tmp_path, warnings=WARNINGS)
    assert written.name.endswith(".annotated.json.gz")
    assert tracks(written) == {
        "stages (window)",
        "why the GPU idles (longest)",
        "warning: of_all",
        "warning: of_this",
    }


def test_a_trace_that_others_recorded_has_no_warnings_of_a_capture(tmp_path: Path) -> None:
    trace = next((SAMPLE_TRACES / "traces").glob("short*"))
    (written,) = annotate([str(trace)], tmp_path)
    assert tracks(written) == {"stages (window)", "why the GPU idles (longest)"}


def test_a_capture_that_has_stores_as_well_is_annotated_from_its_kineto_files(
    capture: Path, tmp_path: Path
) -> None:
    both = tmp_path / "both"
    shutil.copytree(capture, both)
    (file,) = (both / "traces").glob("*.json.gz")
    write_store(read_trace(file), file.with_name(file.name.replace(".json.gz", ".parquet")))
    assert len(annotate([str(both)], tmp_path / "out")) == 1
    file.unlink()
    assert annotate([str(both)], tmp_path / "out") == []
