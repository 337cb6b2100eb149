"""Small traces, built event by event."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from trace_timing.trace.events import NONE, Events, Kind, Trace, TraceInfo

_FIELDS = (
    "start_ns",
    "dur_ns",
    "thread",
    "device",
    "stream",
    "correlation",
    "size_bytes",
    "graph",
    "graph_node",
    "wait_stream",
    "wait_correlation",
    "process",
)
_NARROW = {"thread": np.int32, "device": np.int32, "process": np.int32}


@dataclass
class TraceBuilder:
    """Collects events; `trace()` gives them as one."""

    rows: list[dict[str, int]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    correlation: int = 0

    def add(self, kind: Kind, name: str, start: int, end: int, **fields: int) -> None:
        """One event; fields that are not given are NONE."""
        if name not in self.names:
            self.names.append(name)
        row = {"kind": int(kind), "name": self.names.index(name), "start_ns": start}
        self.rows.append({**row, "dur_ns": end - start, **fields})

    def range(self, name: str, start: int, end: int, *, thread: int = 0) -> TraceBuilder:
        """A host range."""
        self.add(Kind.RANGE, name, start, end, thread=thread)
        return self

    def call(self, name: str, start: int, end: int, *, thread: int = 0) -> TraceBuilder:
        """An API call that launches nothing."""
        self.add(Kind.CALL, name, start, end, thread=thread)
        return self

    def op(
        self,
        start: int,
        end: int,
        *,
        launch: int | None = None,
        thread: int = 0,
        device: int = 0,
        stream: int = 7,
        name: str = "kernel",
    ) -> TraceBuilder:
        """A kernel, and the one-nanosecond call that launched it (None: no such call)."""
        self.correlation += 1
        if launch is not None:
            self.add(
                Kind.CALL,
                "cudaLaunchKernel",
                launch,
                launch + 1,
                thread=thread,
                correlation=self.correlation,
            )
        self.add(
            Kind.KERNEL,
            name,
            start,
            end,
            device=device,
            stream=stream,
            correlation=self.correlation,
        )
        return self

    def graph(self, launch: int, ops: list[tuple[int, int]], *, thread: int = 0) -> TraceBuilder:
        """A CUDA graph: one launch, many ops."""
        self.correlation += 1
        self.add(
            Kind.CALL,
            "cudaGraphLaunch",
            launch,
            launch + 1,
            thread=thread,
            correlation=self.correlation,
        )
        for start, end in ops:
            self.add(
                Kind.KERNEL,
                "node",
                start,
                end,
                device=0,
                stream=7,
                correlation=self.correlation,
            )
        return self

    def trace(self) -> Trace:
        """All events so far."""
        columns = {
            name: np.array([row.get(name, NONE) for row in self.rows], _NARROW.get(name, np.int64))
            for name in _FIELDS
        }
        events = Events(
            kind=np.array([row["kind"] for row in self.rows], np.uint8),
            name=np.array([row["name"] for row in self.rows], np.int32),
            **columns,
        )
        threads = tuple(("1", str(i)) for i in range(8))
        return Trace(events, tuple(self.names), threads, TraceInfo(), "built")
