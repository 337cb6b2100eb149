"""A machine of two host threads and some streams whose undisturbed timeline is known.

It runs a program event by event, with or without a cost at every recorded thing, and hands out what
a profiler would have recorded. It shares no code with the replay that it is there to test.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from trace_timing.trace.events import NONE, Events, Kind, Trace, TraceInfo

LATENCY, RETURN, LAUNCH, SYNC_OWN = 5_000, 3_000, 3_500, 2_000
MAIN, HELPER = 0, 1
Row = tuple[Kind, str, int, int, int, int, int]


@dataclass(frozen=True)
class Costs:
    """What being recorded costs, per API call, range, op and graph node, in ns.

    `pause` is how long the profiler stops the host for a new buffer, at every hundredth call.
    """

    call: int = 0
    range: int = 0
    op: int = 0
    node: int = 0
    pause: int = 0


@dataclass
class Machine:
    """Runs actions in order; `rows` is what a profiler sees of them."""

    costs: Costs = Costs()
    slow: float = 1.0
    now: int = 1_000_000
    rows: list[Row] = field(default_factory=list)
    _ends: dict[int, int] = field(default_factory=dict)
    _free: dict[int, int] = field(default_factory=dict)
    _blocked: dict[int, int] = field(default_factory=dict)
    _open: list[tuple[str, int]] = field(default_factory=list)
    _launched: int = 0
    _helper: int = 0

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
        self.rows.append((Kind.RANGE, name, start, self.now, NONE, NONE, MAIN))
        self.now += self.costs.range // 2

    def launch(self, ns: int, stream: int = 7) -> None:
        """Launch an op that runs this long."""
        called = self.now
        submitted = called + self.costs.call
        self.now = submitted + round(LAUNCH * self.slow)
        self._call("cudaLaunchKernel", called, self.now)
        self._run(submitted, (ns,), stream, self.costs.op)
        if self.costs.pause and self._launched % 100 == 0:
            self._pause()

    def graph(self, nodes: Iterable[int], stream: int = 7) -> None:
        """Launch a graph of ops that run one after the other, 500 ns apart."""
        called = self.now
        submitted = called + self.costs.call
        self.now = submitted + round(3 * LAUNCH * self.slow)
        self._call("cudaGraphLaunch", called, self.now)
        self._run(submitted, nodes, stream, self.costs.node, apart=500)

    def blocking_copy(self, ns: int, stream: int = 7) -> None:
        """A copy to pageable memory: the call returns once it is done."""
        called = self.now
        self._call("cudaMemcpyAsync", called, called)
        done = self._run(called + self.costs.call, (ns,), stream, self.costs.op)
        self.now = max(called + self.costs.call + SYNC_OWN, done + RETURN)
        self.rows[-2] = (*self.rows[-2][:3], self.now, *self.rows[-2][4:])

    def helper(self, ns: int, stream: int) -> None:
        """Another thread, woken now, launches an op on a stream of its own."""
        called = max(self.now + 1_000, self._helper)
        submitted = called + self.costs.call
        self._helper = submitted + LAUNCH
        self._call("cudaLaunchKernel", called, self._helper, HELPER)
        self._run(submitted, (ns,), stream, self.costs.op)

    def _call(self, name: str, start: int, end: int, thread: int = MAIN) -> None:
        self._launched += 1
        self.rows.append((Kind.CALL, name, start, end, NONE, self._launched, thread))

    def _run(
        self, submitted: int, lengths: Iterable[int], stream: int, cost: int, apart: int = 0
    ) -> int:
        """Ops of the last call, each after the one before it on the stream; the end of the last."""
        start = max(submitted + LATENCY, self._blocked.pop(stream, 0), self._free.get(stream, 0))
        for ns in lengths:
            self._ends[stream] = end = start + ns
            self.rows.append((Kind.KERNEL, "kernel", start, end, stream, self._launched, NONE))
            # What an op costs keeps the next one waiting, and nobody else.
            self._free[stream] = end + cost
            start = end + cost + apart
        return self._ends[stream]

    def _pause(self) -> None:
        begin, self.now = self.now, self.now + self.costs.pause
        row = (Kind.OVERHEAD, "Activity Buffer Request", begin + 1, self.now - 1, NONE, NONE, NONE)
        self.rows.append(row)

    def wait_event(self, stream: int, on: int) -> None:
        """What comes next on a stream waits for what another has been given so far."""
        called = self.now
        self.now += self.costs.call + 1_000
        self._call("cudaStreamWaitEvent", called, self.now)
        self._blocked[stream] = self._ends.get(on, 0) + 1_000

    def sync(self) -> None:
        """The host waits for all streams."""
        called = self.now
        ready = called + self.costs.call + SYNC_OWN
        finished = max(self._ends.values(), default=0)
        self.now = max(ready, finished + RETURN + self.costs.call)
        self._call("cudaStreamSynchronize", called, self.now)

    def trace(self) -> Trace:
        """Everything recorded so far."""
        names = tuple(sorted({row[1] for row in self.rows}))
        kind, _, start, end, stream, correlation, thread = zip(*self.rows, strict=True)
        n = len(self.rows)
        none = np.full(n, NONE, np.int64)
        on_device = np.array(kind) == Kind.KERNEL
        events = Events(
            kind=np.array(kind, np.uint8),
            name=np.array([names.index(row[1]) for row in self.rows], np.int32),
            start_ns=np.array(start, np.int64),
            dur_ns=np.array(end, np.int64) - np.array(start, np.int64),
            thread=np.array(thread, np.int32),
            device=np.where(on_device, 0, NONE).astype(np.int32),
            stream=np.array(stream, np.int64),
            correlation=np.array(correlation, np.int64),
            size_bytes=none,
            graph=none,
            graph_node=none,
            wait_stream=none,
            wait_correlation=none,
        )
        return Trace(events, names, (("1", "1"), ("1", "2")), TraceInfo(), "simulated")


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


def copying(m: Machine, step: int) -> None:
    """Results are copied to pageable memory as they come."""
    for i in range(25):
        m.work(5_000)
        m.launch(12_000 + 700 * (i % 3))
        m.blocking_copy(6_000)


def graphs(m: Machine, step: int) -> None:
    """A step replayed as graphs: few calls, many ops."""
    for _ in range(4):
        m.work(15_000)
        m.graph([4_000 + 200 * (i % 5) for i in range(50)])
    m.sync()


def helped(m: Machine, step: int) -> None:
    """Another thread launches beside the generating one, and the host waits for both."""
    for i in range(30):
        m.work(9_000)
        m.launch(3_000)
        if i % 5 == 0:
            m.helper(20_000, stream=30)
        m.launch(3_000)
    m.sync()


PROGRAMS = (
    *(host_bound, device_bound, mixed, syncing, two_streams, experts),
    *(copying, graphs, helped),
)


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
