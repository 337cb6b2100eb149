"""Kineto-like traces of any size, seeded, in Kineto's own layout: what the benchmarks read.

    python -m benchmarks.generator OUT.json.gz --megabytes 100 --seed 1

A generate() of one prefill and decode steps, each of launches, kernels, flow events and, with
--cpu-ops, CPU ops in the proportions of a MolmoE trace: per op two runtime calls, two flows.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from isal import igzip

HEAD = """
  {
    "schemaVersion": 1,
    "deviceProperties": [
    {
      "id": 0, "name": "Synthetic", "totalGlobalMem": 150109880320, "numSms": 132
    }
    ],
      "cuda_runtime_version": 13000,
  "displayTimeUnit": "ms",
  "baseTimeNanoseconds": 1790857026000000000,
  "traceEvents": [
"""
TAIL = '\n  ],\n  "traceName": "synthetic.json"\n}\n'
BASE_NS = 4_566_407_000_000_000
OPS_PER_STEP = 1_000


def us(ns: int) -> str:
    """Microseconds with three decimals, as Kineto writes them."""
    return f"{ns // 1000}.{ns % 1000:03d}"


def event(category: str, name: str, track: str, start: int, dur: int, args: str) -> str:
    """A complete event in Kineto's layout."""
    return (
        f'  {{\n    "ph": "X", "cat": "{category}", "name": "{name}", {track},\n'
        f'    "ts": {us(start)}, "dur": {us(dur)},\n    "args": {{\n      {args}\n    }}\n  }}'
    )


def flow(phase: str, number: int, track: str, at: int) -> str:
    """One end of a flow arrow."""
    end = ', "bp": "e"' if phase == "f" else ""
    return (
        f'  {{\n    "ph": "{phase}", "id": {number}, {track}, "ts": {us(at)},\n'
        f'    "cat": "ac2g", "name": "ac2g"{end}\n  }}'
    )


HOST, DEVICE = '"pid": 404, "tid": 404', '"pid": 0, "tid": 7'
NAMES = [
    f"void at::native::vectorized_elementwise_kernel<{n}, at::native::FillFunctor<float>, "
    f"std::array<char*, {n}ul> >(int, at::native::FillFunctor<float>, std::array<char*, {n}ul>)"
    for n in range(1, 137)
]


def step(random_: random.Random, name: str, start: int, first: int, cpu_ops: bool) -> Iterator[str]:
    """The events of one forward; OPS_PER_STEP ops of 10 µs on the host."""
    length = OPS_PER_STEP * 10_000
    yield event("user_annotation", name, HOST, start, length, '"External id": 1, "Ev Idx": 0')
    for op in range(OPS_PER_STEP):
        number, at = first + 2 * op, start + op * 10_000 + random_.randrange(2_000)
        dur = random_.randrange(700, 6_000)
        kernel = random_.choice(NAMES)
        if cpu_ops:
            args = f'"External id": {number}, "Record function id": 0, "Ev Idx": {number}'
            yield event("cpu_op", "aten::fill_", HOST, at - 500, 7_500, args)
        args = f'"cbid": 11, "correlation": {number + 1}'
        yield event("cuda_runtime", "cudaPeekAtLastError", HOST, at, 63, args)
        yield flow("f", number + 1, HOST, at)
        args = f'"cbid": 211, "correlation": {number}'
        yield event("cuda_runtime", "cudaLaunchKernel", HOST, at + 100, 3_400, args)
        yield flow("s", number, HOST, at + 100)
        args = (
            '"queued": 0, "device": 0, "context": 1,\n      "stream": 7, '
            f'"correlation": {number},\n      "registers per thread": 32,\n      '
            '"shared memory": 0,\n      "blocks per SM": 0.484848,\n      "warps per SM": 1.93,\n'
            '      "grid": [64, 1, 1],\n      "block": [128, 1, 1],\n'
            '      "est. achieved occupancy %": 3'
        )
        yield event("kernel", kernel, DEVICE, at + 6_000, dur, args)
        yield flow("f", number, DEVICE, at + 6_000)


def events(seed: int, cpu_ops: bool) -> Iterator[str]:
    """Events of one generate() without end."""
    random_ = random.Random(seed)
    start, number = BASE_NS, 1
    for index in range(10**9):
        name = f"decode[{index}]" if index else "prefill"
        yield from step(random_, name, start, number, cpu_ops)
        start += OPS_PER_STEP * 10_000 + 100_000
        number += 2 * OPS_PER_STEP


def write_trace(
    path: Path,
    *,
    megabytes: float | None = None,
    count: int | None = None,
    seed: int = 1,
    cpu_ops: bool = False,
) -> int:
    """Write a trace of so many MB of JSON, or of so many events; its number of events."""
    written, total = 0, 0
    with opened(path) as file:
        file.write(HEAD.encode())
        for text in events(seed, cpu_ops):
            data = (",\n" if total else "").encode() + text.encode()
            file.write(data)
            written += len(data)
            total += 1
            if total == count or (megabytes is not None and written >= megabytes * 1e6):
                break
        file.write(TAIL.encode())
    return total


def opened(path: Path) -> Any:
    """A file to write to, gzipped as its name says."""
    return igzip.open(path, "wb", compresslevel=3) if path.suffix == ".gz" else path.open("wb")


#: Between copies of a recorded trace: seconds, and more ids than one has.
_APART_US, _APART_IDS = 10_000_000, 100_000_000
_MOVED = re.compile(rb'("ts": |"(?:correlation|id)": )(\d+)')


def grow_trace(source: Path, path: Path, megabytes: float) -> int:
    """Repeat a recorded trace, later and under other ids, until it has so many MB; its events.

    In the layout it was recorded in: the events of a piece end where the next one's `  {` begins.
    """
    data = source.read_bytes()
    text = igzip.decompress(data) if source.suffix == ".gz" else data
    begin = text.index(b"[", text.index(b'"traceEvents"')) + 1
    end = text.rindex(b"\n  ],")
    separator = b"},\n  {"
    written, total, copy = 0, 0, 0
    with opened(path) as file:
        file.write(text[:begin])
        while written < megabytes * 1e6:
            moved = _MOVED.sub(partial(_moved, copy=copy), text[begin:end])
            left = int(megabytes * 1e6) - written
            if len(moved) > left:
                moved = moved[: moved.index(separator, left) + 1]
            file.write((b"," if copy else b"") + moved)
            written, copy = written + len(moved), copy + 1
            total += moved.count(separator) + 1
        file.write(text[end:])
    return total


def _moved(match: re.Match[bytes], copy: int) -> bytes:
    step = _APART_US if match[1].startswith(b'"ts') else _APART_IDS
    return match[1] + str(int(match[2]) + copy * step).encode()


def main() -> None:
    """Write one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cpu-ops", action="store_true")
    options = parser.parse_args()
    total = write_trace(
        options.path, megabytes=options.megabytes, seed=options.seed, cpu_ops=options.cpu_ops
    )
    print(f"{total} events in {options.path}")


if __name__ == "__main__":
    main()
