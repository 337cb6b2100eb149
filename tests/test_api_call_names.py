"""One table tells what an API call does; idle causes and counts are read from it."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from trace_timing.api_call_names import CALL_ROLES, DEFINITIONS, role_of_call
from trace_timing.timeline.breakdown.api_calls import class_of_call

NAMES = {
    "cudaLaunchKernel": "launch",
    "cudaLaunchKernelExC_v11060": "launch",
    "cudaLaunchCooperativeKernel": "launch",
    "cuLaunchKernel": "launch",
    "cuLaunchKernelEx": "launch",
    "hipLaunchKernel": "launch",
    "hipExtLaunchKernel": "launch",
    "hipModuleLaunchKernel": "launch",
    "hipExtModuleLaunchKernel": "launch",
    "hipHccModuleLaunchKernel": "launch",
    "cudaLaunchHostFunc": "event",
    "cudaGraphLaunch": "graph_launch",
    "cuGraphLaunch_ptsz": "graph_launch",
    "hipGraphLaunch": "graph_launch",
    "cudaStreamSynchronize": "sync",
    "cuCtxSynchronize": "sync",
    "cuStreamSynchronize_ptsz": "sync",
    "hipEventSynchronize": "sync",
    "cudaMemcpyAsync": "copy",
    "cudaMemcpyAsync_ptsz": "copy",
    "cuMemcpyDtoHAsync_v2": "copy",
    "cuMemcpyBatchAsync": "copy",
    "hipMemcpyPeerAsync": "copy",
    "cudaMemcpy": "blocking_copy",
    "cuMemcpyDtoH_v2": "blocking_copy",
    "hipMemcpyWithStream": "blocking_copy",
    "cudaMemsetAsync": "fill",
    "cuMemsetD8Async": "fill",
    "cudaMalloc": "alloc",
    "cudaMallocAsync": "alloc",
    "cudaFreeAsync": "alloc",
    "cudaHostAlloc": "alloc",
    "cudaHostRegister": "alloc",
    "cuMemAlloc_v2": "alloc",
    "cuMemCreate": "alloc",
    "cuMemUnmap": "alloc",
    "cuMemAddressReserve": "alloc",
    "hipHostMalloc": "alloc",
    "cudaFree": "free",
    "cudaFreeHost": "free",
    "cuMemFree_v2": "free",
    "hipHostFree": "free",
    "cudaEventRecordWithFlags": "event",
    "cudaStreamWaitEvent": "event",
    "cudaEventQuery": "query",
    "cudaStreamIsCapturing": "query",
    "cudaStreamGetCaptureInfo_v2": "query",
    "cudaFuncGetAttributes": "query",
    "cudaGetErrorString": "query",
    "cudaPeekAtLastError": "query",
    "cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags": "query",
    "hipGetDevicePropertiesR0600": "query",
    "cudaMemGetInfo": "query",
    "cudaStreamBeginCapture": "capture",
    "cudaGraphInstantiateWithFlags": "capture",
    "cudaGraphKernelNodeSetParams": "capture",
    "cuModuleLoadData": "load",
    "cuLibraryGetKernel": "load",
    "cudaFuncSetAttribute": "setup",
    "cudaStreamCreateWithFlags": "setup",
    "cudaEventCreateWithFlags": "setup",
    "cuCtxPushCurrent_v2": "setup",
    "__cudaPushCallConfiguration": "setup",
    "cudaLaunchAttributeSomething": "unknown",
    "INVALID": "unknown",
    "aten::copy_": "unknown",
    "cudaSomethingNew": "unknown",
}


@pytest.mark.parametrize(("name", "role"), NAMES.items())
def test_a_call_name_tells_what_it_does(name: str, role: str) -> None:
    assert role_of_call(name) == role


@pytest.mark.parametrize(
    ("name", "place_in_idle_time"),
    [
        ("cudaMemcpy", "sync"),  # waits
        ("cudaMemcpyAsync", "copy"),
        ("cudaMemsetAsync", "copy"),
        ("cudaFree", "alloc"),
        ("cudaGraphLaunch", "launch"),
        ("cuLaunchKernelEx", "launch"),
        ("cudaEventRecord", "api"),
        ("cudaEventSynchronize", "sync"),
        ("INVALID", "api"),
    ],
)
def test_idle_causes_follow_the_one_table(name: str, place_in_idle_time: str) -> None:
    assert class_of_call(name) == place_in_idle_time


def test_every_role_is_defined() -> None:
    assert tuple(DEFINITIONS) == CALL_ROLES


def _api_calls(path: Path) -> Counter[str]:
    """Read independently of the package: this is about names alone."""
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return Counter(
        e["name"] for e in events if str(e.get("cat")).endswith(("_runtime", "_driver", "runtime"))
    )


def _all_traces(shared: Path) -> list[Path]:
    folders = (shared / "traces", REPOSITORY / "sample_traces", REPOSITORY / "tests" / "data")
    return [path for folder in folders for path in sorted(folder.rglob("*.json.gz"))]


@pytest.mark.slow
def test_no_call_of_a_recorded_trace_is_of_unknown_name_but_what_kineto_does_not_name(
    shared: Path,
) -> None:
    traces = _all_traces(shared)
    assert len(traces) >= 14
    seen: Counter[str] = Counter()
    for path in traces:
        calls = _api_calls(path)
        unknown = sum(n for name, n in calls.items() if role_of_call(name) == "unknown")
        print(f"{path.name}: {unknown} of {calls.total()} API calls of unknown name")
        seen += calls
    assert {name for name in seen if role_of_call(name) == "unknown"} == {"INVALID"}
    assert seen["INVALID"] < 0.005 * seen.total()


#: CUPTI 13.0, cupti_runtime_cbid.h: what Kineto's own table of callback ids lacks.
NAMED_INVALID = {
    409: "cudaStreamGetCaptureInfo_v2",
    461: "cudaStreamGetCaptureInfo",
    468: "cudaGetDriverEntryPointByVersion",
    486: "cudaEventElapsedTime",
}


@pytest.mark.slow
def test_what_kineto_names_invalid_in_recorded_traces_only_asks(shared: Path) -> None:
    seen: set[int] = set()
    for path in _all_traces(shared):
        for event in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]:
            if event.get("name") == "INVALID":
                seen.add(event["args"]["cbid"])
    assert seen == NAMED_INVALID.keys()
    assert {role_of_call(name) for name in NAMED_INVALID.values()} == {"query"}
