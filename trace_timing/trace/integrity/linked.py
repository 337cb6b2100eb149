"""GPU ops with the calls that launched them, shared by several checks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trace_timing.api_call_names import role_of_call
from trace_timing.arrays import BoolArray, IntArray
from trace_timing.memoize import cached_per_object
from trace_timing.trace.events import NONE, Trace
from trace_timing.trace.links import gpu_op_rows, launch_rows


@dataclass(frozen=True, eq=False)
class LinkedOps:
    """The n GPU ops that have a launch, by start: rows of the trace's events."""

    op: IntArray
    launch: IntArray
    #: Whether its launch put a whole graph into the stream, or the op has a graph id.
    in_graph: BoolArray

    def __len__(self) -> int:
        return len(self.op)


@cached_per_object
def linked_ops(trace: Trace) -> LinkedOps:
    """Ops with their launches (links.launch_rows)."""
    events = trace.events
    ops, launch = gpu_op_rows(events), launch_rows(events)
    linked = launch != NONE
    ops, launch = ops[linked], launch[linked]
    of_graph = np.array([role_of_call(n) == "graph_launch" for n in trace.names], np.bool_)
    in_graph = (events.graph_node[ops] > 0) | (events.graph[ops] > 0)
    if len(ops):
        in_graph |= of_graph[events.name[launch]]
    return LinkedOps(ops, launch, in_graph)
