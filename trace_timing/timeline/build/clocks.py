"""How far the host's and the device's clocks can be trusted against each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trace_timing.api_call_names import SYNCHRONIZING
from trace_timing.arrays import IntArray
from trace_timing.trace.calls import calls_that
from trace_timing.trace.events import NONE, Kind, Trace
from trace_timing.trace.links import gpu_op_rows, launch_rows


@dataclass(frozen=True)
class ClockTolerance:
    """How far the device's clock may be off the host's in either direction, in ns.

    An op starts after its launch, and a call that waits for it returns after its end. A negative
    value: the clocks are off by at least that. None: the trace has nothing to measure it by.
    """

    launch_to_start_ns: int | None
    end_to_sync_return_ns: int | None
    #: Ops that seem to start before their launch begins.
    early_ops: int


def clock_tolerance(trace: Trace) -> ClockTolerance:
    """Smallest launch → start, and smallest op end → return of a call that waited for it."""
    events = trace.events
    ops = gpu_op_rows(events)
    launch = launch_rows(events)
    linked = launch != NONE
    delay = events.start_ns[ops[linked]] - events.start_ns[launch[linked]]
    return ClockTolerance(
        int(delay.min()) if len(delay) else None,
        _end_to_return(trace, np.sort(events.end_ns[ops], kind="stable")),
        int((delay < 0).sum()),
    )


def _end_to_return(trace: Trace, ends: IntArray) -> int | None:
    """Smallest ns from an op's end to the return of the call that waited for it."""
    events = trace.events
    calls = events.rows(Kind.CALL)
    waits = calls[calls_that(trace, calls, SYNCHRONIZING)]
    begins, returns = events.start_ns[waits], events.end_ns[waits]
    last = np.searchsorted(ends, returns, side="right") - 1
    # Only a call during which an op ended has waited for one.
    waited = (last >= 0) & (ends[np.maximum(last, 0)] > begins) if len(ends) else last >= 0
    if not waited.any():
        return None
    return int((returns[waited] - ends[last[waited]]).min())
