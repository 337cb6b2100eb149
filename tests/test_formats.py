"""Files of a newer format are refused by number, wherever they are read (docs/file-formats.md)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.paths import SAMPLE_TRACES
from tests.stats.compared_tables import report_directory, tables
from trace_timing.api.analysis.inputs import find_inputs
from trace_timing.api.output.load import load
from trace_timing.errors import TraceError
from trace_timing.recording.storage.directory import open_directory
from trace_timing.records.encoding import FORMAT_VERSION, encode
from trace_timing.records.manifest import Manifest, decode_manifest

NEWER = FORMAT_VERSION + 1


def newer(file: Path) -> None:
    told = json.loads(file.read_text())
    # Another type of a known field, as a newer format may have: the version must be seen first.
    file.write_text(json.dumps({**told, "format_version": NEWER, "settings": ["x"]}))


def test_a_capture_of_a_newer_format_is_refused_by_number(tmp_path: Path) -> None:
    capture = Path(shutil.copytree(SAMPLE_TRACES, tmp_path / "capture"))
    newer(capture / "manifest.json")
    found = find_inputs([str(capture)])
    assert not found.sources
    assert f"format version {NEWER}" in found.rejections[0].reason
    assert "newer" in found.rejections[0].remedy


def test_a_capture_of_a_newer_format_is_not_gone_on_with(tmp_path: Path) -> None:
    place = open_directory(tmp_path)
    place.write_manifest(Manifest())
    newer(place.manifest)
    before = place.manifest.read_bytes()
    with pytest.raises(TraceError, match=f"format version {NEWER}"):
        place.read_manifest()
    assert place.manifest.read_bytes() == before


def test_tables_of_a_newer_format_are_not_compared(tmp_path: Path) -> None:
    report = report_directory(tmp_path / "report", tables(1))
    newer(report / "summary.json")
    with pytest.raises(TraceError, match=f"format version {NEWER}"):
        load(str(report))


def test_this_format_and_fields_that_nobody_knows_yet_are_read() -> None:
    told = {**json.loads(encode(Manifest(tool_version="9.0"))), "of_tomorrow": 1}
    assert decode_manifest(json.dumps(told), source="manifest.json").tool_version == "9.0"


def test_a_damaged_summary_is_named(tmp_path: Path) -> None:
    report = report_directory(tmp_path / "report", tables(1))
    (report / "summary.json").write_text('{"format_version": "one"}')
    with pytest.raises(TraceError, match=r"summary\.json"):
        load(str(report))
