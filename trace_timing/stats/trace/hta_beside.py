"""HTA's figures of each stage beside ours, row by row (docs/why.md explains differences)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from trace_timing.arrays import BoolArray
from trace_timing.schema.breakdown import BesideHta, IdleCause, KindTime, QueueFigures
from trace_timing.stats.trace.hta_bridge import HtaFigures, hta_figures
from trace_timing.timeline.breakdown.grouping import stage_of_key, stages_of
from trace_timing.timeline.build.model import RunTimeline
from trace_timing.trace.events import NONE, Trace

#: Most kernels of a stage that are compared by name.
TOP_KERNELS = 5


def beside_hta(
    trace: Trace,
    run: RunTimeline,
    idle: tuple[IdleCause, ...],
    kinds: tuple[KindTime, ...],
    queue: tuple[QueueFigures, ...],
) -> tuple[BesideHta, ...]:
    """Rows of every stage that has ops.

    Args:
        idle, kinds, queue: our figures of the same run.
    Raises:
        UsageError: the extra `hta` is not installed.
    """
    stage = stage_of_key(run)[run.ops.key]
    rows: list[BesideHta] = []
    for code, name in enumerate(stages_of(run)):
        if not (stage == code).any():
            continue
        figures = hta_figures(trace, run, name)
        ours = _Ours(
            idle_ns=sum(row.idle_ns for row in idle if row.stage == name),
            busy_ns=_busy_by_type(tuple(row for row in kinds if row.stage == name)),
            kernels_ns=_by_name(trace, run, stage == code),
            launches=int((run.ops.launch_row[stage == code] != NONE).sum()),
            queue=next(row for row in queue if row.stage == name),
        )
        rows += [
            BesideHta(stage=name, measure=measure, item=item, ours=left, hta=right)
            for measure, item, left, right in _compared(ours, figures)
        ]
    return tuple(rows)


@dataclass(frozen=True, kw_only=True)
class _Ours:
    idle_ns: int
    busy_ns: Mapping[str, int]
    kernels_ns: Counter[str]
    launches: int
    queue: QueueFigures


#: measure, item, ours, HTA's
_Compared = tuple[str, str | None, float | None, float | None]


def _compared(ours: _Ours, hta: HtaFigures) -> Iterator[_Compared]:
    yield "idle_ns", None, ours.idle_ns, sum(hta.idle_ns.values())
    causes: Counter[str] = Counter()
    for (_, cause), ns in hta.idle_ns.items():
        causes[cause] += ns
    for cause, ns in sorted(causes.items()):
        if ns:
            yield "idle_ns", cause, None, ns
    for kind in sorted(ours.busy_ns.keys() | hta.kernel_types_ns.keys()):
        yield "busy_ns", kind.lower(), ours.busy_ns.get(kind), hta.kernel_types_ns.get(kind)
    yield "kernel_sum_ns", None, ours.kernels_ns.total(), sum(hta.kernels_ns.values())
    for name, ns in ours.kernels_ns.most_common(TOP_KERNELS):
        yield "kernel_sum_ns", name, ns, hta.kernels_ns.get(name)
    yield "launches", None, ours.launches, hta.launches
    yield "launch_latency_p50_ns", None, ours.queue.latency_p50_ns, hta.launch_delay_median_ns
    longest = max(hta.max_queue.values(), default=0) if hta.max_queue is not None else None
    yield "max_queue", None, ours.queue.max_depth, longest


_TYPE_OF_KIND: Mapping[str, str] = {
    "nccl": "COMMUNICATION",
    "memset": "MEMORY",
    **dict.fromkeys(
        ("memcpy_htod", "memcpy_dtoh", "memcpy_dtod", "memcpy_peer", "memcpy_other"), "MEMORY"
    ),
}


def _busy_by_type(kinds: tuple[KindTime, ...]) -> Counter[str]:
    busy: Counter[str] = Counter()
    for row in kinds:
        busy[_TYPE_OF_KIND.get(row.op_kind, "COMPUTATION")] += row.busy_ns
    return busy


def _by_name(trace: Trace, run: RunTimeline, own: BoolArray) -> Counter[str]:
    names = trace.events.name[run.ops.row[own]]
    total = np.zeros(len(trace.names), np.int64)
    np.add.at(total, names, (run.ops.end_ns - run.ops.start_ns)[own])
    return Counter({trace.names[i]: int(total[i]) for i in np.unique(names)})
