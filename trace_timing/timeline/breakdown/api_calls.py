"""The API calls of one thread, by what they do to host and device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from trace_timing.api_call_names import CallRole, role_of_call
from trace_timing.arrays import IntArray, distinct_codes
from trace_timing.memoize import cached_per_object
from trace_timing.timeline.build.intervals import Intervals, outermost
from trace_timing.timeline.build.model import RunTimeline
from trace_timing.trace.events import Kind, Trace

CallClass = Literal["sync", "alloc", "copy", "launch", "api"]
CALL_CLASSES: tuple[CallClass, ...] = CallClass.__args__  # type: ignore[attr-defined]

_CLASS_OF_ROLE: Mapping[CallRole, CallClass] = {
    "sync": "sync",
    "blocking_copy": "sync",
    "alloc": "alloc",
    "free": "alloc",
    "launch": "launch",
    "graph_launch": "launch",
    "copy": "copy",
    "fill": "copy",
}


def class_of_call(name: str) -> CallClass:
    """What a call of this name does: waits, allocates, copies, launches, or none of these."""
    return _CLASS_OF_ROLE.get(role_of_call(name), "api")


@dataclass(frozen=True)
class Calls:
    """The c outermost API calls of one thread, by start; all arrays have c entries."""

    #: Row of the trace's events.
    row: IntArray
    start_ns: IntArray
    end_ns: IntArray
    #: Index into Trace.names.
    name: npt.NDArray[np.int32]
    #: Index into CALL_CLASSES.
    call_class: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.row)

    @property
    def intervals(self) -> Intervals:
        """The calls as intervals, tagged with their numbers; a call may have no length."""
        return Intervals(self.start_ns, self.end_ns, np.arange(len(self), dtype=np.int64))


@cached_per_object
def calls_of_run(trace: Trace, run: RunTimeline) -> Calls:
    """The outermost API calls that a run's generating thread begins in its window.

    Outermost, because a runtime call may hold the driver call that it is made of.
    """
    events = trace.events
    rows = events.rows(Kind.CALL)
    begins = events.start_ns[rows]
    inside = (begins >= run.window_start_ns) & (begins < run.window_end_ns)
    rows = rows[inside & (events.thread[rows] == run.generating_thread)]
    rows = rows[outermost(events.start_ns[rows], events.end_ns[rows])]
    classes = np.zeros(len(trace.names), np.uint8)
    for name in distinct_codes(events.name[rows]):
        classes[name] = CALL_CLASSES.index(class_of_call(trace.names[name]))
    names = events.name[rows]
    return Calls(rows, events.start_ns[rows], events.end_ns[rows], names, classes[names])
