"""The rungs of the calibration ladder: small loops that differ in what a profiler records of them.

Each does one thing per iteration, so that calls, ops, ranges and waits vary independently; how
many of each are recorded is counted in a trace, not presumed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Loop = Callable[[int], None]
ELEMENTS = 1024
GRAPH_NODES = 400
ITERATIONS = 200


@dataclass(frozen=True)
class Probe:
    """A loop of n iterations; `waits` per iteration for the device."""

    name: str
    loop: Loop
    waits: int = 0
    #: Unprofiled counterpart, where it is not the same loop.
    bare: Loop | None = None
    #: In one reading of the clock.
    iterations: int = ITERATIONS


def host_probes(device: torch.device) -> tuple[Probe, ...]:
    """Every rung that the host's clock times, on a stream that is idle between iterations."""
    a, b = (torch.ones(ELEMENTS, device=device) for _ in range(2))
    square = torch.eye(32, device=device)
    product = torch.empty_like(square)
    one = torch.ones((), device=device)
    stream = torch.cuda.current_stream(device)
    event = torch.cuda.Event()
    graph = captured_graph(device, nodes=1)
    capturing = torch.cuda.is_current_stream_capturing

    def waiting() -> None:
        torch.neg(a, out=b)
        stream.synchronize()

    probes = [
        _each("launch", lambda: torch.neg(a, out=b)),
        _each("launch_in_ops", lambda: torch.neg(a.view(32, 32).t(), out=square)),
        _each("matmul", lambda: torch.mm(square, square, out=product)),
        _each("op", lambda: a.view(ELEMENTS)),
        _each("nested_ops", lambda: square.t()),
        _each("copy", lambda: b.copy_(a)),
        _each("event", lambda: event.record(stream)),
        _each("query", capturing),
        _each("sync", stream.synchronize),
        _each("wait", waiting, waits=1),
        _each("item", lambda: one.item(), waits=1),
        _each("graph", graph.replay),
        _ranges(),
        _ranges(inside=lambda: torch.neg(a, out=b), name="range_launch"),
    ]
    peek = _peek()
    return (*probes, _each("peek", peek)) if peek else tuple(probes)


def _each(name: str, action: Callable[[], Any], waits: int = 0) -> Probe:
    def loop(n: int) -> None:
        for _ in range(n):
            action()

    return Probe(name, loop, waits)


def _ranges(inside: Callable[[], Any] = int, name: str = "range") -> Probe:
    def loop(n: int) -> None:
        for _ in range(n):
            with torch.profiler.record_function("calibration"):
                inside()

    def bare(n: int) -> None:
        for _ in range(n):
            inside()

    return Probe(name, loop, bare=bare)


def _peek() -> Callable[[], Any] | None:
    """cudaPeekAtLastError of the runtime library that is loaded, which PyTorch calls by the score.

    None where the library is linked in statically or cannot be found.
    """
    try:
        maps = Path("/proc/self/maps").read_text()
        path = next(line.split(maxsplit=5)[5] for line in maps.splitlines() if "libcudart" in line)
        function = ctypes.CDLL(path.strip()).cudaPeekAtLastError
    except (OSError, StopIteration, AttributeError):
        return None
    return lambda: function()


def captured_graph(device: torch.device, nodes: int) -> Any:
    """A CUDA graph of this many small kernels in a row."""
    a, b = (torch.ones(ELEMENTS, device=device) for _ in range(2))
    torch.neg(a, out=b)
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(nodes):
            torch.neg(a, out=b)
    torch.cuda.synchronize(device)
    return graph


def device_probes(device: torch.device) -> Mapping[str, tuple[Callable[[], Any], int]]:
    """What is queued behind a spinning kernel, and how many device ops it is."""
    a, b = (torch.ones(ELEMENTS, device=device) for _ in range(2))
    graph = captured_graph(device, GRAPH_NODES)

    def kernels() -> None:
        for _ in range(GRAPH_NODES):
            torch.neg(a, out=b)

    return {"device_op": (kernels, GRAPH_NODES), "graph_node": (graph.replay, GRAPH_NODES)}


class Spin:
    """A kernel that only waits, so that what is queued behind it starts back to back."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        torch.cuda._sleep(1_000_000)
        self._cycles_per_ns = 1_000_000 / self.timed(lambda: torch.cuda._sleep(1_000_000))

    def timed(self, action: Callable[[], Any], behind_ns: int = 0) -> float:
        """Device time of `action` in ns, queued behind a spin of this length.

        Raises:
            BlockingIOError: the spin ended before all was queued, so the host's time is in it.
        """
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(self._device)
        if behind_ns:
            torch.cuda._sleep(int(behind_ns * self._cycles_per_ns))
        begin.record()
        action()
        end.record()
        late = behind_ns and begin.query()
        torch.cuda.synchronize(self._device)
        if late:
            raise BlockingIOError(f"queueing took longer than {behind_ns} ns")
        return float(begin.elapsed_time(end)) * 1e6
