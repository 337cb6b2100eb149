"""Run HolisticTraceAnalysis (HTA) on our events, stage by stage.

Without its loader, which rounds timestamps to whole µs. Its `Trace` is filled with our integer ns
instead, so every time in its results is in ns, whatever the column's name ("sum (us)"). Extra `hta`
(the package is `traceinsight`, the import still `hta`). Written for HTA 0.6.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_timing.arrays import BoolArray, IntArray
from trace_timing.errors import UsageError
from trace_timing.stages import Stage
from trace_timing.timeline.breakdown.grouping import stage_of_key, stages_of
from trace_timing.timeline.build.model import RunTimeline
from trace_timing.trace.events import NONE, Kind, Trace

if TYPE_CHECKING:
    import pandas as pd

#: HTA's categories of Kineto events.
_CATEGORIES = {
    Kind.KERNEL: "kernel",
    Kind.MEMCPY: "gpu_memcpy",
    Kind.MEMSET: "gpu_memset",
    Kind.CALL: "cuda_runtime",
}
#: HTA's threshold (consecutive_kernel_delay): shorter gaps count as `kernel_wait`.
KERNEL_WAIT_NS = 30


@dataclass(frozen=True, kw_only=True)
class HtaFigures:
    """HTA's figures for the ops of one stage, or of a run; all times in ns."""

    #: None for the whole run.
    stage: Stage | None
    #: (stream, category) → ns between consecutive ops of the stream: host_wait, kernel_wait, other.
    #: Gaps in which the stream runs ops of another stage are left out.
    idle_ns: Mapping[tuple[int, str], int]
    #: Kernel name → summed ns; HTA joins all but the greatest into `others`.
    kernels_ns: Mapping[str, int]
    #: COMPUTATION, COMMUNICATION, MEMORY and their overlaps → ns.
    kernel_types_ns: Mapping[str, int]
    #: Launches that HTA pairs with an op: only cudaLaunchKernel, …ExC, cudaMemcpyAsync and
    #: cudaMemsetAsync; it knows no driver launches and no HIP.
    launches: int
    #: Median from the launch call's end to the op's start; HTA clips negative values to 0.
    launch_delay_median_ns: float | None
    #: Stream → most ops outstanding; None where HTA refuses the trace.
    max_queue: Mapping[int, int] | None


def require_hta() -> None:
    """Check that HTA is installed.

    Raises:
        UsageError: the extra `hta` is not installed.
    """
    try:
        import hta.common.trace
        import hta.trace_analysis  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "HTA's analyses need HTA", why=str(error), remedy="pip install 'trace-timing[hta]'"
        ) from error


def hta_figures(trace: Trace, run: RunTimeline, stage: Stage | None = None) -> HtaFigures:
    """Run HTA's idle, kernel, launch and queue analyses on one stage of a run.

    Args:
        stage: by our attribution, with at least one op; None for every op of the run.
    Raises:
        UsageError: the extra `hta` is not installed.
    """
    require_hta()
    chosen = _chosen(run, stage)
    with _quiet():
        analysis = _analysis(trace, run, chosen)
        types, kernels = analysis.get_gpu_kernel_breakdown(
            visualize=False, num_kernels=1000, duration_ratio=1.0, include_memory_kernels=True
        )
        launches = analysis.get_cuda_kernel_launch_stats(
            ranks=[0], include_memory_events=True, visualize=False
        )[0]
        max_queue = _max_queue(analysis)
        idle_ns = _idle_ns(analysis, trace, run, chosen)
    return HtaFigures(
        stage=stage,
        idle_ns=idle_ns,
        kernels_ns=_sums(kernels, "name", "sum (us)"),
        kernel_types_ns=_sums(types, "kernel_type", "sum"),
        launches=len(launches),
        launch_delay_median_ns=float(launches["launch_delay"].median()) if len(launches) else None,
        max_queue=max_queue,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence HTA's log, and pandas' warnings about calls deprecated since HTA was written."""
    logging.getLogger("hta").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _idle_ns(
    analysis: Any, trace: Trace, run: RunTimeline, chosen: BoolArray
) -> dict[tuple[int, str], int]:
    """HTA's idle time, given each uninterrupted stretch of the stage on a stream as its own stream.

    HTA sums the gaps between a stream's ops. Given all ops of one stage as one stream, it would
    count the time in which other stages run.
    """
    frame = analysis.t.traces[0]
    stretch, stream = _stretches(trace, run, chosen)
    frame.iloc[: len(stretch), frame.columns.get_loc("stream")] = stretch
    idle, _ = analysis.get_idle_time_breakdown(
        visualize=False, consecutive_kernel_delay=KERNEL_WAIT_NS
    )
    out: Counter[tuple[int, str]] = Counter()
    for row in idle.itertuples():
        out[int(stream[int(row.stream)]), str(row.idle_category)] += int(row.idle_time)
    return dict(out)


def _stretches(trace: Trace, run: RunTimeline, chosen: BoolArray) -> tuple[IntArray, IntArray]:
    """The number of each chosen op's stretch, and the stream of each stretch."""
    events, ops = trace.events, run.ops
    lane = np.stack([ops.device.astype(np.int64), events.stream[ops.row]])
    order = np.lexsort((ops.start_ns, lane[1], lane[0]))
    lane, inside = lane[:, order], chosen[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (lane[:, 1:] != lane[:, :-1]).any(axis=0) | (inside[1:] != inside[:-1])
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(new) - 1
    return number[chosen], lane[1][new]


def _chosen(run: RunTimeline, stage: Stage | None) -> BoolArray:
    if stage is None:
        return np.ones(len(run.ops), np.bool_)
    stages = stages_of(run)
    code = stages.index(stage) if stage in stages else NONE
    return np.asarray(stage_of_key(run)[run.ops.key] == code, np.bool_)


def _sums(table: pd.DataFrame, name: str, value: str) -> dict[str, int]:
    return {str(k): int(v) for k, v in table.groupby(name)[value].sum().items()}


def _max_queue(analysis: Any) -> dict[int, int] | None:
    """Most outstanding ops by stream; None where HTA refuses the trace."""
    try:
        series = analysis.get_queue_length_time_series(ranks=[0])
    except AssertionError:
        # HTA asserts that each launch call it knows made exactly one op.
        return None
    if 0 not in series:
        return {}
    return {int(s): int(q) for s, q in series[0].groupby("stream")["queue_length"].max().items()}


def _analysis(trace: Trace, run: RunTimeline, chosen: BoolArray) -> Any:
    """An HTA TraceAnalysis of the chosen ops and the calls that launched them."""
    from hta.common.trace import Trace as HtaTrace
    from hta.trace_analysis import TraceAnalysis

    filled = HtaTrace(trace_files={}, trace_dir=".")
    launch = run.ops.launch_row[chosen]
    calls = np.unique(launch[launch != NONE])
    rows = np.concatenate([run.ops.row[chosen], calls])
    names = [trace.names[i] for i in trace.events.name[rows]]
    categories = [_CATEGORIES[Kind(k)] for k in trace.events.kind[rows]]
    filled.symbol_table.add_symbols([*dict.fromkeys(names), *_CATEGORIES.values()])
    symbols = filled.symbol_table.get_sym_id_map()
    filled.traces = {
        0: _frame(
            trace, rows, launch, [symbols[n] for n in names], [symbols[c] for c in categories]
        )
    }
    filled.meta_data = {0: {}}
    filled.min_ts = int(trace.events.start_ns[rows].min()) if len(rows) else 0
    filled.is_parsed = True
    analysis = TraceAnalysis.__new__(TraceAnalysis)
    analysis.t = filled
    return analysis


def _frame(
    trace: Trace, rows: IntArray, launch: IntArray, names: list[int], categories: list[int]
) -> pd.DataFrame:
    """HTA's table: ops first, each pointing by index_correlation at its launch, then the calls.

    A call points back at its first op. Rows count from 1, because for HTA a pointer of 0 or less
    means a call that launched nothing.
    """
    import pandas as pd

    events, ops, n = trace.events, len(launch), len(rows)
    calls = rows[ops:]
    linked = launch != NONE
    pointed = np.full(n, NONE, np.int64)
    pointed[:ops][linked] = np.searchsorted(calls, launch[linked]) + ops + 1
    first = np.unique(launch[linked], return_index=True)[1]
    pointed[ops:] = np.flatnonzero(linked)[first] + 1
    is_op = np.arange(n) < ops
    table: dict[str, Any] = {
        "index": np.arange(1, n + 1),
        "ts": events.start_ns[rows],
        "dur": events.dur_ns[rows],
        "end": events.end_ns[rows],
        "name": names,
        "cat": categories,
        "pid": np.where(is_op, events.device[rows], 0),
        "tid": np.where(is_op, events.stream[rows], events.thread[rows]),
        "stream": np.where(is_op, events.stream[rows], NONE),
        "correlation": events.correlation[rows],
        "index_correlation": pointed,
        "iteration": np.zeros(n, np.int64),
        "bytes": events.size_bytes[rows],
        "memory_bw_gbps": np.zeros(n),
    }
    return pd.DataFrame(table).set_index("index", drop=False).rename_axis(None)
