"""A saved trace: no name of the machine in it, lost kernels counted, never half written."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from trace_timing.errors import CaptureError
from trace_timing.recording.storage.kineto_export import clean, inspect, store_compressed


def document(events: list[dict]) -> bytes:
    head = {"schemaVersion": 1, "host_name": "secret-host", "traceEvents": events}
    return json.dumps({**head, "traceName": '/home/someone/"x"/t.json'}).encode()


def event(cat: str, name: str, ts: float, correlation: int | None = None, dur: float = 1.0) -> dict:
    args = {} if correlation is None else {"correlation": correlation}
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "args": args}


GENERATE = event("user_annotation", "generate", 10.0, dur=100.0)


@pytest.mark.parametrize("events", [0, 500])
def test_no_host_and_no_path_stays(events: int) -> None:
    text = document([event("kernel", "k", i, i) for i in range(events)])
    cleaned = clean(text, "a-1.r0.k0")
    assert b"secret" not in cleaned
    assert b"someone" not in cleaned
    before, after = json.loads(text), json.loads(cleaned)
    assert after["traceName"] == "a-1.r0.k0.json"
    assert after["traceEvents"] == before["traceEvents"]


def test_kernels_that_a_launch_in_generate_lacks_are_lost() -> None:
    events = [
        event("cuda_runtime", "cudaLaunchKernel", 5.0, 1),  # before generate: a pad, may be lost
        GENERATE,
        event("cuda_runtime", "cudaLaunchKernel", 20.0, 2),
        event("cuda_runtime", "cudaLaunchKernelExC", 21.0, 3),
        event("cuda_runtime", "cudaMemcpyAsync", 22.0, 4),  # host to host: no op
        event("kernel", "k", 30.0, 3),
    ]
    losses = inspect(document(events), name="a")
    assert (losses.launches, losses.lost, losses.ops) == (2, 1, 1)
    assert losses.generate_ns == 100_000


def test_what_is_captured_into_a_graph_does_not_run_and_is_not_lost() -> None:
    events = [
        GENERATE,
        event("cuda_runtime", "cudaStreamEndCapture", 23.0),
        event("cuda_runtime", "cudaStreamBeginCapture", 20.0),
        event("cuda_runtime", "cudaLaunchKernel", 21.0, 2),
        event("cuda_driver", "cuLaunchKernelEx", 22.0, 3),
        {**event("cuda_runtime", "cudaLaunchKernel", 22.5, 4), "tid": 9},  # another thread's
        event("cuda_runtime", "cudaGraphLaunch", 24.0, 5),
        event("kernel", "k", 30.0, 5),
    ]
    losses = inspect(document(events), name="a")
    assert (losses.launches, losses.lost) == (1, 1)


def switched(*missing: float) -> bytes:
    """Launches at 20, 25 … 95, these without kernel; a gap from 40 to 60, a guard step to 70."""
    events = [GENERATE, event("user_annotation", "recording_off", 40.0, dur=20.0)]
    events.append(event("user_annotation", "recording_guard", 60.0, dur=10.0))
    for number, at in enumerate(range(20, 100, 5)):
        events.append(event("cuda_runtime", "cudaLaunchKernel", float(at), number))
        if at not in missing:
            events.append(event("kernel", "k", at + 1.0, number))
    return document(events)


@pytest.mark.parametrize(
    ("missing", "lost", "at_switches"),
    [
        ((), 0, 0),
        ((40, 55, 60), 0, 3),  # within the gap, and in the guard step
        ((30, 35), 0, 2),  # the last ones before it
        ((30,), 1, 0),  # the one at 35 has its kernel
        ((70,), 1, 0),  # after the guard step
        ((20, 25, 30, 35), 4, 0),  # no launch of the stretch has its kernel
    ],
)
def test_what_a_switch_of_recording_costs_is_no_loss(
    missing: tuple[int, ...], lost: int, at_switches: int
) -> None:
    losses = inspect(switched(*missing), name="a")
    assert (losses.lost, losses.lost_at_switches) == (lost, at_switches)


def test_nothing_is_lost_on_a_real_gpu_trace(h200: Path) -> None:
    text = gzip.decompress((h200 / "llava_llama1b_user_scope.json.gz").read_bytes())
    # That trace has no generate range; its stage range stands in for one.
    losses = inspect(text.replace(b'"name": "prefill"', b'"name": "generate"'), name="a")
    assert losses.ranges == 1
    assert losses.launches > 500
    assert losses.lost == 0


def test_a_cut_trace_is_refused() -> None:
    with pytest.raises(CaptureError, match="broken trace of sample 7"):
        inspect(document([GENERATE])[:-40], name="sample 7")


def test_equal_traces_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        store_compressed(b"text", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert gzip.decompress((tmp_path / "a").read_bytes()) == b"text"
