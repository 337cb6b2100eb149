"""Compare reading and tiling a server's trace with bare decoding, in fresh processes.

    python -m benchmarks.serving [--megabytes 400] [--runs 3] [--cores 0]

The trace is generated into a temporary folder, gzipped as vLLM leaves it: forwards named as vLLM
names them, each with launches of its own and one CUDA graph, and as many kernels, CPU ops and
Python functions as a decode step of the public vLLM trace has (TraceLens's; stacks are vLLM's
default).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.fresh import RESULTS, in_fresh_process, machine, measured, medians, save
from benchmarks.generator import (
    BASE_NS,
    DEVICE,
    HEAD,
    HOST,
    NAMES,
    TAIL,
    event,
    flow,
    opened,
)
from benchmarks.read import Call, bare_msgspec

#: Of a forward: kernels of its graph, and launches outside it.
GRAPHED, SINGLE = 412, 13
CPU_OPS, FUNCTIONS = 100, 984
BATCHES = (1, 2, 4, 8, 16, 32)
#: One forward in so many reads a prompt, and launches kernel by kernel.
PROMPT_EVERY = 40


def served(path: Path) -> Call:
    """Read and lay out with the map that knows the names: attribution and tiling included."""
    import isal.igzip  # noqa: F401  imported while reading, not part of it

    from trace_timing.timeline.build.runs import lay_out
    from trace_timing.timeline.naming.builtin_maps import auto
    from trace_timing.trace.files.reading import open_trace

    stages = auto()
    return lambda: lay_out(open_trace(path), stages)


READERS: dict[str, Callable[[Path], Call]] = {"ours": served, "bare msgspec": bare_msgspec}


def forward(random_: random.Random, number: int, start: int, first: int) -> Iterator[str]:
    """The events of one forward; it takes 4 ms on the host."""
    batch = random_.choice(BATCHES)
    prompt = number % PROMPT_EVERY == 0
    name = (
        f"execute_context_1({random_.choice((256, 512))})_generation_0(0)"
        if prompt
        else f"execute_context_0(0)_generation_{batch}({batch})"
    )
    yield event("user_annotation", name, HOST, start, 4_000_000, '"External id": 1, "Ev Idx": 0')
    yield from host_events(random_, start, first)
    singles = GRAPHED + SINGLE if prompt else SINGLE
    at = start
    for op in range(singles):
        at = start + op * 7_000
        yield from launch("cudaLaunchKernel", 211, first + op, at)
        yield from kernel(random_, first + op, at + 6_000)
    if not prompt:
        number = first + singles
        yield from launch("cudaGraphLaunch", 311, number, at + 7_000)
        for op in range(GRAPHED):
            yield from kernel(random_, number, at + 20_000 + op * 8_000)


def host_events(random_: random.Random, start: int, first: int) -> Iterator[str]:
    """What the host did beside launching: Python functions, and CPU ops."""
    for index in range(FUNCTIONS):
        line, number = random_.randrange(4_000), first * 10 + index
        name = f"vllm/v1/worker/gpu_model_runner.py({line}): function_{line % 97}"
        args = f'"Python parent id": {number}, "Python id": {number + 1}, "Ev Idx": {number}'
        yield event("python_function", name, HOST, start + index * 4_000, 3_500, args)
    for index in range(CPU_OPS):
        number = first * 10 + index
        args = f'"External id": {number}, "Record function id": 0, "Ev Idx": {number}'
        yield event("cpu_op", "aten::copy_", HOST, start + index * 39_000, 30_000, args)


def launch(name: str, cbid: int, number: int, at: int) -> Iterator[str]:
    """A launch on the host, and the begin of its arrow."""
    args = f'"cbid": {cbid}, "correlation": {number}'
    yield event("cuda_runtime", name, HOST, at, 3_400, args)
    yield flow("s", number, HOST, at)


def kernel(random_: random.Random, number: int, at: int) -> Iterator[str]:
    """A kernel of that launch, and the end of its arrow."""
    args = (
        '"queued": 0, "device": 0, "context": 1,\n      "stream": 7, '
        f'"correlation": {number},\n      "registers per thread": 32,\n      '
        '"shared memory": 0,\n      "blocks per SM": 0.484848,\n      "warps per SM": 1.93,\n'
        '      "grid": [64, 1, 1],\n      "block": [128, 1, 1],\n'
        '      "est. achieved occupancy %": 3'
    )
    dur = random_.randrange(700, 6_000)
    yield event("kernel", random_.choice(NAMES), DEVICE, at, dur, args)
    yield flow("f", number, DEVICE, at)


def write_served_trace(path: Path, megabytes: float, seed: int = 1) -> dict[str, int]:
    """Write so many MB of whole forwards; how many forwards and events."""
    random_ = random.Random(seed)
    written, events, forwards, start, number = 0, 0, 0, BASE_NS, 1
    with opened(path) as file:
        file.write(HEAD.encode())
        while written < megabytes * 1e6:
            texts = [*forward(random_, forwards, start, number)]
            data = (",\n" if events else "") + ",\n".join(texts)
            file.write(data.encode())
            written, events, forwards = written + len(data), events + len(texts), forwards + 1
            start, number = start + 4_100_000, number + GRAPHED + SINGLE + 1
        file.write(TAIL.encode())
    return {"forwards": forwards, "events": events}


def compare(path: Path, runs: int, cores: str | None) -> dict[str, Any]:
    """Medians of both readers, interleaved so that drift hits both alike, and their quotients."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in READERS}
    for _ in range(runs):
        for name, done in found.items():
            done.append(in_fresh_process("benchmarks.serving", name, str(path), cores=cores))
    figures = {name: medians(done) for name, done in found.items()}
    ours, bare = figures["ours"], figures["bare msgspec"]
    return {
        "readers": figures,
        "seconds_over_bare": round(ours["seconds"] / bare["seconds"], 3),
        "processor_over_bare": round(ours["processor_s"] / bare["processor_s"], 3),
    }


def main() -> None:
    """Generate, compare, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=400)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cores", help="pin every reader to these (taskset), as 0")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    before = machine()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "served.json.gz"
        size = write_served_trace(path, options.megabytes)
        found = {**size, "json_mb": options.megabytes, **compare(path, options.runs, options.cores)}
    print(json.dumps(found, indent=2))
    print(f"wrote {save('serving', {'machine': before, **found}, options.output)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measured(lambda: READERS[sys.argv[2]](Path(sys.argv[3])))))
    else:
        main()
