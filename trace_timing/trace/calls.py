"""Which API calls of a trace do a given thing."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from trace_timing.call_names import CallRole, role_of_call
from trace_timing.trace.events import Trace
from trace_timing.units import BoolArray, IntArray


def calls_that(trace: Trace, rows: IntArray, roles: Collection[CallRole]) -> BoolArray:
    """Which of these rows of the trace are calls in one of the roles; len(rows) entries."""
    matches = np.array([role_of_call(name) in roles for name in trace.names], np.bool_)
    return matches[trace.events.name[rows]] if len(matches) else np.zeros(len(rows), np.bool_)
