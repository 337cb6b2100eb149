"""A machine of one host thread and some streams whose undisturbed timeline is known.

It runs a program event by event, with or without a cost at every recorded thing, and hands out what
a profiler would have recorded. It shares no code with the replay that it is there to test.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from trace_timing.trace.events import NONE, Events, Kind, Trace, TraceInfo

LATENCY, RETURN, LAUNCH, SYNC_OWN = 5_000, 3_000, 3_500, 2_000


@dataclass(frozen=True)
class Costs:
    """What being recorded costs, per API call and per range, in ns."""

    call: int = 0
    range: int = 0


@dataclass
class Machine:
    """Runs actions in order; `rows` is what a profiler sees of them."""

    costs: Costs = Costs()
    slow: float = 1.0
    now: int = 1_000_000
    rows: list[tuple[Kind, str, int, int, int, int]] = field(default_factory=list)
    _ends: dict[int, int] = field(default_factory=dict)
    _blocked: dict[int, int] = field(default_factory=dict)
    _open: list[tuple[str, int]] = field(default_factory=list)
    _launched: int = 0

    def work(self, ns: int) -> None:
        """The host computes."""
        self.now += round(ns * self.slow)

    def begin(self, name: str) -> None:
        """A range begins; half of what it costs falls due."""
        self._open.append((name, self.now))
        self.now += self.costs.range // 2

    def end(self) -> None:
        """The innermost range ends."""
        name, start = self._open.pop()
        self.rows.append((Kind.RANGE, name, start, self.now, NONE, NONE))
        self.now += self.costs.range // 2

    def launch(self, ns: int, stream: int = 7) -> None:
        """Launch an op that runs this long."""
        called = self.now
        submitted = called + self.costs.call
        self.now = submitted + round(LAUNCH * self.slow)
        ready = max(submitted + LATENCY, self._blocked.pop(stream, 0))
        start = max(ready, self._ends.get(stream, 0))
        self._ends[stream] = start + ns
        self._launched += 1
        self.rows.append((Kind.CALL, "cudaLaunchKernel", called, self.now, NONE, self._launched))
        self.rows.append((Kind.KERNEL, "kernel", start, start + ns, stream, self._launched))

    def wait_event(self, stream: int, on: int) -> None:
        """What comes next on a stream waits for what another has been given so far."""
        called = self.now
        self.now += self.costs.call + 1_000
        self.rows.append((Kind.CALL, "cudaStreamWaitEvent", called, self.now, NONE, NONE))
        self._blocked[stream] = self._ends.get(on, 0) + 1_000

    def sync(self) -> None:
        """The host waits for all streams."""
        called = self.now
        ready = called + self.costs.call + SYNC_OWN
        finished = max(self._ends.values(), default=0)
        self.now = max(ready, finished + RETURN + self.costs.call)
        self.rows.append((Kind.CALL, "cudaStreamSynchronize", called, self.now, NONE, NONE))

    def trace(self) -> Trace:
        """Everything recorded so far."""
        names = tuple(sorted({row[1] for row in self.rows}))
        kind, _, start, end, stream, correlation = zip(*self.rows, strict=True)
        n = len(self.rows)
        none = np.full(n, NONE, np.int64)
        on_device = np.array(kind) == Kind.KERNEL
        events = Events(
            kind=np.array(kind, np.uint8),
            name=np.array([names.index(row[1]) for row in self.rows], np.int32),
            start_ns=np.array(start, np.int64),
            dur_ns=np.array(end, np.int64) - np.array(start, np.int64),
            thread=np.where(on_device, NONE, 0).astype(np.int32),
            device=np.where(on_device, 0, NONE).astype(np.int32),
            stream=np.array(stream, np.int64),
            correlation=np.array(correlation, np.int64),
            size_bytes=none,
            graph_node=none,
            wait_stream=none,
            wait_correlation=none,
        )
        return Trace(events, names, (("1", "1"),), TraceInfo(), "simulated")


def host_bound(m: Machine, step: int) -> None:
    """Short ops, much host work between them."""
    for i in range(60):
        m.work(9_000 + 500 * (i % 7))
        m.launch(2_000 + 100 * (step % 3))


def device_bound(m: Machine, step: int) -> None:
    """Long ops: the host runs ahead, and waits once at the end."""
    for i in range(60):
        m.work(2_000)
        m.launch(60_000 + 1_000 * (i % 5))
    m.sync()


def mixed(m: Machine, step: int) -> None:
    """One regime, then the other."""
    host_bound(m, step)
    device_bound(m, step)


def syncing(m: Machine, step: int) -> None:
    """The host waits for every few ops."""
    for i in range(30):
        m.work(6_000)
        m.launch(8_000)
        m.launch(4_000 + 300 * (i % 4))
        m.sync()


def two_streams(m: Machine, step: int) -> None:
    """Work on a side stream that the main one waits for."""
    for _ in range(20):
        m.work(4_000)
        m.launch(30_000, stream=7)
        m.launch(90_000, stream=20)
        m.wait_event(stream=7, on=20)
        m.launch(25_000, stream=7)
    m.sync()


def experts(m: Machine, step: int) -> None:
    """A loop over experts: for each, ask the device how many tokens it has, and wait."""
    for expert in range(40):
        m.work(5_000)
        m.launch(2_500)
        m.sync()
        for _ in range(1 + (expert + step) % 4):
            m.work(7_000)
            m.launch(3_000)


PROGRAMS = (host_bound, device_bound, mixed, syncing, two_streams, experts)


def generate(
    program: object, costs: Costs = Costs(), *, steps: int = 4, slow: float = 1.0
) -> Machine:
    """A generate() of a prefill and some decode steps, each running the program."""
    assert callable(program)
    m = Machine(costs, slow)
    m.begin("generate")
    for step, name in enumerate(_stages(steps)):
        m.begin(name)
        program(m, step)
        m.end()
        m.begin(f"sampling[{step}]")
        m.work(20_000)
        m.launch(3_000)
        m.sync()
        m.end()
    m.end()
    return m


def _stages(steps: int) -> Iterable[str]:
    yield "prefill"
    yield from (f"decode[{i}]" for i in range(1, steps))
