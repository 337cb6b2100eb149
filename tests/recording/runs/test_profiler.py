"""Sessions on this machine's torch: what each way in records, and what an exception leaves open."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch

from trace_timing.recording.runs.profiler import (
    ProfilerSession,
    PublicSession,
    ScopedSession,
    available,
    open_session,
)
from trace_timing.recording.runs.profiler_sink import ProfilerSink

pytestmark = pytest.mark.capture


def categories(session: ProfilerSession, folder: Path) -> Counter[str]:
    sink = ProfilerSink()
    session.start()
    sink.enter("generate", None)
    sink.enter("decode", 1)
    torch.ones(8, 8) @ torch.ones(8, 8)
    sink.exit()
    sink.exit()
    session.stop()
    session.save(folder / "t.json")
    events = json.loads((folder / "t.json").read_bytes())["traceEvents"]
    return Counter(
        e["name"] if e["cat"] == "user_annotation" else e["cat"] for e in events if "cat" in e
    )


def test_ranges_records_ranges_and_no_cpu_op(tmp_path: Path) -> None:
    found = categories(ScopedSession("ranges"), tmp_path)
    assert (found["generate"], found["decode[1]"], found["cpu_op"]) == (1, 1, 0)


@pytest.mark.parametrize(
    "session", [ScopedSession("full"), PublicSession()], ids=["full", "public"]
)
def test_the_others_record_cpu_ops_too(session: ProfilerSession, tmp_path: Path) -> None:
    found = categories(session, tmp_path)
    assert (found["generate"], found["decode[1]"]) == (1, 1)
    assert found["cpu_op"] > 0


def test_a_session_starts_again(tmp_path: Path) -> None:
    session = ScopedSession("ranges")
    assert [categories(session, tmp_path)["generate"] for _ in range(5)] == [1] * 5


def test_without_the_private_way_in_the_public_one_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert available()
    assert open_session("ranges")[1] == "private"
    monkeypatch.delattr(torch.autograd, "_enable_profiler")
    session, backend = open_session("ranges")
    assert isinstance(session, PublicSession)
    assert backend == "public"


def test_close_ends_what_an_exception_left_open(tmp_path: Path) -> None:
    session, sink = ScopedSession("ranges"), ProfilerSink()
    session.start()
    sink.enter("generate", None)
    sink.enter("prefill", None)
    sink.close()
    session.stop()
    session.save(tmp_path / "t.json")
    events = json.loads((tmp_path / "t.json").read_bytes())["traceEvents"]
    assert {e["name"] for e in events if e.get("cat") == "user_annotation"} == {
        "generate",
        "prefill",
    }
