"""Measure the cost per event (10⁴ to 10⁷), per sample (10 to 2,000), and the gain of workers.

    python -m benchmarks.scale [--events 10000 …] [--samples 10 …] [--trace TRACE] [--workers 200]

Samples are the capture in sample_traces/ over and over under other ids, records and controls with
it, as compact stores; with --trace, stores of one trace of others. `trace-timing analyze` runs
as a user runs it, report included; memory is that of all its processes together. Workers are those
of a Dask cluster, one core each, on so many of the same samples.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.fresh import (
    RESULTS,
    Budget,
    in_fresh_process,
    machine,
    measured,
    repeated,
    save,
    with_children,
)
from benchmarks.generator import write_trace
from benchmarks.read import READERS
from trace_timing.recording.storage.directory import sha256
from trace_timing.trace.files.store import write_store
from trace_timing.trace.kineto.reader import read_trace

CAPTURE = Path(__file__).parent.parent / "sample_traces"
#: Analysed before the clock starts: a worker's first trace waits for its imports.
WARM_UP = 8


def by_events(counts: list[int], runs: int, budget: Budget) -> Iterator[dict[str, Any]]:
    """Time reading and tiling of generated traces, by number of events."""
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json.gz"
            total = write_trace(path, count=count)
            args = ("benchmarks.scale", str(path))
            middle = repeated(lambda args=args: in_fresh_process(*args), runs, budget)  # type: ignore[misc]
        yield {"events": total, **_each(middle, total, "us_per_event", 1e6), **middle}


def by_samples(
    counts: list[int], trace: Path | None, options: argparse.Namespace, budget: Budget
) -> Iterator[dict[str, Any]]:
    """Time `trace-timing analyze`, by number of samples."""
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            capture = folder / "in"
            replicate(capture, count) if trace is None else stores_of(trace, capture, count)
            command = [sys.executable, "-m", "trace_timing", "analyze", str(capture), "--no-cache"]
            command += ["-o", str(folder / "out"), "--jobs", str(options.jobs)]
            command += ["--no-report"] if options.no_report else []
            # 1: a trace without records has warnings, and no stage where it has no ranges.
            middle = repeated(
                lambda c=command: with_children(c, good=(0, 1)),  # type: ignore[misc]
                options.runs,
                budget,
            )
        each = _each(middle, count, "ms_per_sample", 1e3)
        yield {"samples": count, "jobs": options.jobs, **each, **middle}


def by_workers(samples: int, runs: int, budget: Budget) -> Iterator[dict[str, Any]]:
    """Time the same samples on one worker of a Dask cluster and on two."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        replicate(folder, samples)
        for workers in (1, 2):
            with cluster(workers) as address:
                middle = repeated(lambda a=address: _on(a, folder), runs, budget)  # type: ignore[misc]
            yield {"workers": workers, "samples": samples, **middle}


def _on(address: str, folder: Path) -> dict[str, float]:
    from trace_timing.api.analysis.executor import spread
    from trace_timing.api.analysis.inputs import find_inputs
    from trace_timing.api.analysis.worker import Settings

    sources = list(enumerate(find_inputs([str(folder)]).sources))
    list(spread(sources[:WARM_UP], Settings(), jobs=1, scheduler=address))
    start = time.perf_counter()
    done = sum(
        o.result is not None for _, o in spread(sources, Settings(), jobs=1, scheduler=address)
    )
    assert done == len(sources)
    return {"seconds": time.perf_counter() - start}


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """A scheduler on loopback with so many worker processes of one thread."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    processes: list[subprocess.Popen[str]] = []

    def start(*command: str, ready: str) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        processes.append(process)
        assert process.stdout is not None
        return next(line for line in process.stdout if ready in line)

    try:
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        said = start("distributed.cli.dask_scheduler", *options, ready="Scheduler at")
        address = said.split()[-1]
        for _ in range(workers):
            worker = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny")
            start(*worker, "--no-dashboard", ready="Registered to")
        yield address
    finally:
        for process in processes:
            process.kill()
            process.wait()


def replicate(folder: Path, count: int) -> None:
    """A capture of `count` samples: those of sample_traces/, over and over, under other ids."""
    (folder / "traces").mkdir(parents=True)
    (folder / "manifest.json").write_bytes((CAPTURE / "manifest.json").read_bytes())
    lines = (CAPTURE / "runs.rank0.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    samples = list(dict.fromkeys(r["sample_id"] for r in records))
    stores = folder.with_name(folder.name + ".stores")
    stores.mkdir()
    for source in (CAPTURE / "traces").glob("*.json.gz"):
        write_store(read_trace(source), stores / f"{source.name.removesuffix('.json.gz')}.parquet")
    with (folder / "runs.rank0.jsonl").open("w") as file:
        for number in range(count):
            for record in records:
                if record["sample_id"] == samples[number % len(samples)]:
                    new = {**record, "sample_id": f"{record['sample_id']}-{number:05d}"}
                    if record.get("trace"):
                        new["trace"] = f"{number:05d}-{record['trace']}"
                        store = stores / f"{record['trace']}.parquet"
                        new["sha256"] = {"parquet": sha256(store)}
                        os.link(store, folder / f"traces/{new['trace']}.parquet")
                    file.write(json.dumps(new) + "\n")


def stores_of(trace: Path, folder: Path, count: int) -> None:
    """So many names for the compact store of one trace."""
    folder.mkdir()
    store = folder.with_name("store.parquet")
    write_store(read_trace(trace), store)
    for number in range(count):
        os.link(store, folder / f"sample{number:05d}.parquet")


def _each(middle: dict[str, Any], count: int, name: str, unit: float) -> dict[str, float]:
    return {name: unit * middle["seconds"] / count} if "seconds" in middle else {}


def plot(results: dict[str, Any], path: Path) -> None:
    """Cost per event and per sample over their number."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(1, 2, subplot_titles=["µs per event", "ms per sample"])
    series = (("events", "us_per_event"), ("samples", "ms_per_sample"))
    for column, (name, unit) in enumerate(series, 1):
        rows = [row for row in results.get(name, []) if unit in row]
        y = [row[unit] for row in rows]
        figure.add_trace(go.Scatter(x=[row[name] for row in rows], y=y, name=name), 1, column)
    figure.update_xaxes(type="log")
    figure.update_yaxes(rangemode="tozero")
    figure.write_html(path, include_plotlyjs="cdn")


def main() -> None:
    """Measure; write JSON and a plot after every series."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", nargs="*", type=int, default=[10**4, 10**5, 10**6, 10**7])
    parser.add_argument("--samples", nargs="*", type=int, default=[10, 100, 500, 2000])
    parser.add_argument("--trace", type=Path, help="stores of this one instead of the capture")
    parser.add_argument("--no-report", action="store_true", help="tables alone")
    parser.add_argument("--workers", type=int, default=200, help="samples on a cluster; 0: none")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=40, help="begin nothing after so many")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    budget = Budget(options.minutes)
    results: dict[str, Any] = {"machine": machine(), "report": not options.no_report}
    results["trace"] = options.trace.name if options.trace else "sample_traces"
    series = {
        "events": by_events(options.events, options.runs, budget),
        "samples": by_samples(options.samples, options.trace, options, budget),
        "workers": by_workers(options.workers, options.runs, budget) if options.workers else [],
    }
    for name, rows in series.items():
        results[name] = []
        for row in rows:
            print(json.dumps(row))
            results[name].append(row)
            path = save("scale", results, options.output)
    plot(results, path.with_suffix(".html"))
    print(f"wrote {path}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measured(lambda: READERS["ours"](Path(sys.argv[2])))))
    else:
        main()
