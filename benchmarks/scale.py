"""Cost per event from 10⁴ to 10⁷ events, and per sample from 10 to 2,000 samples.

    python -m benchmarks.scale [--events 10000 …] [--samples TRACE 10 100 2000] [--jobs 2]

Samples are compact stores of one real trace under as many names. Fresh processes throughout;
memory is that of the process and of its largest child, summed over the jobs at worst.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.fresh import in_fresh_process, measured, medians, save
from benchmarks.generator import write_trace
from benchmarks.read import READERS, Call


def samples(folder: Path, jobs: int) -> Call:
    """Analyse a folder to tables, in parts on disk first, as the command does."""
    from trace_timing.api.analysis import analyze
    from trace_timing.report.export import write_tables

    def run() -> None:
        found = analyze(folder, jobs=jobs, parts=folder / ".parts")
        write_tables(found.tables, folder / "report")

    return run


def by_events(counts: list[int], runs: int, folder: Path) -> list[dict[str, Any]]:
    """Reading and tiling of generated traces of so many events."""
    found = []
    for count in counts:
        path = folder / f"{count}.json.gz"
        total = write_trace(path, count=count)
        done = [in_fresh_process("benchmarks.scale", "ours", str(path)) for _ in range(runs)]
        middle = medians(done)
        found.append({"events": total, "us_per_event": 1e6 * middle["seconds"] / total, **middle})
        print(json.dumps(found[-1]))
        path.unlink()
    return found


def by_samples(
    trace: Path, counts: list[int], jobs: int, runs: int, folder: Path
) -> list[dict[str, Any]]:
    """Analysis of so many stores of one trace."""
    from trace_timing.trace.kineto import read_trace
    from trace_timing.trace.store import write_store

    store = folder / "store.parquet"
    write_store(read_trace(trace), store)
    found = []
    for count in counts:
        place = folder / f"samples{count}"
        place.mkdir()
        for number in range(count):
            shutil.copyfile(store, place / f"sample{number:05d}.parquet")
        args = ("samples", str(place), str(jobs))
        middle = medians([in_fresh_process("benchmarks.scale", *args) for _ in range(runs)])
        per_sample = 1e3 * middle["seconds"] / count if "seconds" in middle else None
        found.append({"samples": count, "jobs": jobs, "ms_per_sample": per_sample, **middle})
        print(json.dumps(found[-1]))
        shutil.rmtree(place)
    return found


def plot(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Cost per event and per sample over their number."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(1, 2, subplot_titles=["µs per event", "ms per sample"])
    for column, (name, unit) in enumerate((("events", "us"), ("samples", "ms")), 1):
        rows = results.get(name, [])
        y = [row[f"{unit}_per_{name[:-1]}"] for row in rows]
        figure.add_trace(go.Scatter(x=[row[name] for row in rows], y=y, name=name), 1, column)
    figure.update_xaxes(type="log")
    figure.update_yaxes(rangemode="tozero")
    figure.write_html(path, include_plotlyjs="cdn")


def one(kind: str, path: str, *rest: str) -> dict[str, float]:
    """The measured call of a fresh process."""
    if kind == "ours":
        return measured(lambda: READERS["ours"](Path(path)))
    jobs = int(rest[0])
    figures = measured(lambda: samples(Path(path), jobs))
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {**figures, "all_processes_mb": figures["peak_mb"] + child * jobs}


def main() -> None:
    """Measure; write JSON and a plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", nargs="*", type=int, default=[10**4, 10**5, 10**6, 10**7])
    parser.add_argument("--trace", type=Path, help="a real trace, for the samples")
    parser.add_argument("--samples", nargs="*", type=int, default=[10, 100, 500, 2000])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results["events"] = by_events(options.events, options.runs, folder)
        if options.trace:
            results["samples"] = by_samples(
                options.trace, options.samples, options.jobs, options.runs, folder
            )
    path = save("scale", results)
    plot(results, path.with_suffix(".html"))
    print(f"wrote {path}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(*sys.argv[2:])))
    else:
        main()
