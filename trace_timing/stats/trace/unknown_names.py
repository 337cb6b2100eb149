"""Warn where names that no pattern knows take much of the kernel or call time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trace_timing.api_call_names import role_of_call
from trace_timing.arrays import IntArray
from trace_timing.records.findings import FigureWarning
from trace_timing.timeline.breakdown.op_kinds import OP_KINDS, op_kinds
from trace_timing.trace.events import Kind, Trace

#: Least share of kernel time, or of the time in API calls, for a warning: an unknown call that
#: waits or allocates takes long. The recorded traces have 0 % and at most 0.6 % (NCCL's queries,
#: one a collective).
MOST_UNKNOWN_FRAC = 0.02
_NAMED = 3


def unknown_names(trace: Trace) -> Iterator[FigureWarning]:
    """Warnings about unknown kernels and unknown API calls."""
    events = trace.events
    kernels = events.rows(Kind.KERNEL)
    other = kernels[op_kinds(trace, kernels) == OP_KINDS.index("other")]
    total, of_unknown = int(events.dur_ns[kernels].sum()), int(events.dur_ns[other].sum())
    if of_unknown > MOST_UNKNOWN_FRAC * total:
        yield FigureWarning(
            code="unknown_kernels",
            message="Kernels of unknown names: their kind of work is `other`.",
            evidence=f"{of_unknown / total:.0%} of kernel time, most of it {_most(trace, other)}",
            remedy="read kinds of work as lower bounds; add the names to the table of kernel names",
        )
    calls = events.rows(Kind.CALL)
    unknown = np.array([role_of_call(name) == "unknown" for name in trace.names], np.bool_)
    strange = calls[unknown[events.name[calls]]] if len(calls) else calls
    inside, unknown_ns = int(events.dur_ns[calls].sum()), int(events.dur_ns[strange].sum())
    if unknown_ns > MOST_UNKNOWN_FRAC * inside:
        yield FigureWarning(
            code="unknown_calls",
            message="API calls of unknown names: whether they wait or allocate is not known.",
            evidence=f"{unknown_ns / inside:.0%} of the time in calls, {len(strange):,} of "
            f"{len(calls):,}, most of it {_most(trace, strange)}",
            remedy="read idle causes beside `api` as lower bounds; add the names to "
            "api_call_names.py; for calls named INVALID, their `cbid` in the trace shows which "
            "they are (CUPTI's cupti_runtime_cbid.h)",
        )


def _most(trace: Trace, rows: IntArray) -> str:
    """The names with the most time among these events, for a message."""
    total = np.zeros(len(trace.names), np.int64)
    np.add.at(total, trace.events.name[rows], trace.events.dur_ns[rows])
    most = np.argsort(-total, kind="stable")[:_NAMED]
    return ", ".join(trace.names[i][:60] for i in most if total[i])
