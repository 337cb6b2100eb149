"""Compare reading a trace with this project and with others, in fresh processes.

    python -m benchmarks.read [TRACE…] [--grow TRACE 123] [--generate 100 400] [--cores 0]

`ours` reads and tiles; `ours, store to tables` makes all tables from the compact store; `bare
msgspec` inflates and decodes in the same pieces and keeps nothing: the floor. HTA and TraceLens
only load. Readers that are not installed (extra `bench`) fail with their reason.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.fresh import (
    RESULTS,
    Budget,
    in_fresh_process,
    machine,
    measured,
    medians,
    save,
)
from benchmarks.generator import grow_trace, write_trace

Call = Callable[[], object]
#: What suits a decoder that keeps nothing best: larger pieces make it slower.
BARE_PIECE_BYTES = 1 << 18
SAMPLES = Path(__file__).parent.parent / "sample_traces" / "traces"


def ours(path: Path) -> Call:
    """Read and lay out: attribution and tiling included."""
    import isal.igzip  # noqa: F401  imported while reading, not part of it

    from trace_timing.timeline.build.runs import lay_out
    from trace_timing.timeline.naming.stage_names import DEFAULT_STAGES
    from trace_timing.trace.files.reading import open_trace

    return lambda: lay_out(open_trace(path), DEFAULT_STAGES)


def ours_reading(path: Path) -> Call:
    """Read the trace, without a timeline."""
    import isal.igzip  # noqa: F401

    from trace_timing.trace.files.reading import open_trace

    return lambda: open_trace(path)


def ours_store(path: Path) -> Call:
    """All tables from the compact store."""
    import pyarrow.parquet  # noqa: F401

    from trace_timing.api.analysis.worker import Settings, analyze_trace
    from trace_timing.stats.trace.trace_result import TraceSource
    from trace_timing.trace.files.store import write_store
    from trace_timing.trace.kineto.reader import read_trace

    store = Path(tempfile.mkdtemp()) / "trace.parquet"
    write_store(read_trace(path), store)
    source = TraceSource(location=str(store), name=store.name, sample_id="a")
    analyze_trace(source, Settings())  # the first call imports
    return lambda: analyze_trace(source, Settings())


def bare_msgspec(path: Path) -> Call:
    """Inflate, cut into the same pieces, decode each to structs of what is needed; keep nothing.

    Types of its own, so that it stays the same when ours get faster.
    """
    import isal.igzip  # noqa: F401

    from trace_timing.trace.kineto.decoding import Args
    from trace_timing.trace.kineto.inflating import blocks_of
    from trace_timing.trace.kineto.pieces import feed

    fields: list[tuple[str, Any, Any]] = [(name, str, "") for name in ("ph", "cat", "name")]
    fields += [(name, float, 0.0) for name in ("ts", "dur")]
    fields += [(name, int | str, "") for name in ("pid", "tid")]
    event = msgspec.defstruct("Event", [*fields, ("args", Args, Args())], gc=False)
    decoder = msgspec.json.Decoder(list[event])  # type: ignore[valid-type]

    def run() -> None:
        with path.open("rb") as file:
            feed(blocks_of(file, str(path)), decoder.decode, BARE_PIECE_BYTES)

    return run


def text(path: Path) -> bytes:
    """The file's JSON."""
    data = path.read_bytes()
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def json_load(path: Path) -> Call:
    """Python's json module."""
    return lambda: json.loads(text(path))


def with_orjson(path: Path) -> Call:
    """The fastest that builds dicts."""
    import orjson

    return lambda: orjson.loads(text(path))


def hta(path: Path) -> Call:
    """HolisticTraceAnalysis, published as traceinsight: TraceAnalysis of one rank."""
    from hta.trace_analysis import TraceAnalysis

    # It writes beside what it reads, and looks in trace_dir alone.
    folder = Path(tempfile.mkdtemp())
    (folder / path.name).symlink_to(path.resolve())
    return lambda: TraceAnalysis(trace_files={0: path.name}, trace_dir=str(folder))


def tracelens(path: Path) -> Call:
    """TraceLens, where it is installed."""
    from TraceLens import TraceToTree, TreePerfAnalyzer  # noqa: F401

    return lambda: TreePerfAnalyzer.from_file(str(path))


READERS: dict[str, Callable[[Path], Call]] = {
    "ours": ours,
    "ours, reading alone": ours_reading,
    "ours, store to tables": ours_store,
    "bare msgspec": bare_msgspec,
    "json.load": json_load,
    "orjson": with_orjson,
    "HTA": hta,
    "TraceLens": tracelens,
}


def compare(path: Path, options: argparse.Namespace, budget: Budget) -> dict[str, Any]:
    """Medians of every reader on one file, interleaved so that drift hits all alike."""
    megabytes = len(text(path)) / 1e6
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in READERS}
    for _ in range(options.runs):
        for name, done in found.items():
            if not budget.spent and not (done and "failed" in done[-1]):
                args = (name, str(path))
                done.append(in_fresh_process("benchmarks.read", *args, cores=options.cores))
    figures = {name: medians(done) for name, done in found.items()}
    for figure in figures.values():
        if "seconds" in figure:
            figure["mb_per_s"] = megabytes / figure["seconds"]
    return {"file": path.name, "json_mb": megabytes, "readers": figures, **ratios(figures)}


def ratios(figures: dict[str, dict[str, float]]) -> dict[str, object]:
    """Ratios that the targets limit, of one run."""

    def quotient(one: str, other: str, key: str) -> float | None:
        a, b = figures[one].get(key), figures[other].get(key)
        return round(a / b, 3) if a and b else None

    return {
        "hta_seconds_over_ours": quotient("HTA", "ours", "seconds"),
        "ours_seconds_over_bare": quotient("ours", "bare msgspec", "seconds"),
        "ours_processor_over_bare": quotient("ours", "bare msgspec", "processor_s"),
        "reading_processor_over_bare": quotient(
            "ours, reading alone", "bare msgspec", "processor_s"
        ),
        "ours_peak_over_hta": quotient("ours", "HTA", "peak_mb"),
    }


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Seconds and peak memory of each reader, a group a file."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(1, 2, subplot_titles=["seconds", "peak memory over the imports, MB"])
    for result in results:
        readers = {n: f for n, f in result["readers"].items() if "seconds" in f}
        for column, key in ((1, "seconds"), (2, "over_imports_mb")):
            figures = [f[key] for f in readers.values()]
            bar = go.Bar(name=str(result["file"]), x=list(readers), y=figures)
            figure.add_trace(bar, 1, column)
    figure.update_yaxes(type="log")
    figure.write_html(path, include_plotlyjs="cdn")


def main() -> None:
    """Compare on the given traces and on generated ones; write JSON and a plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="real traces  [sample_traces/]")
    parser.add_argument("--grow", nargs=2, metavar=("TRACE", "MB"), help="a real one, repeated")
    parser.add_argument("--generate", nargs="*", type=float, default=[100, 400], metavar="MB")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cores", help="pin every reader to these (taskset), as 0")
    parser.add_argument("--minutes", type=float, default=45, help="begin nothing after so many")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    before, budget = machine(), Budget(options.minutes)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for path in (
            *(options.paths or sorted(SAMPLES.glob("*.json.gz"))),
            *_made(folder, options),
        ):
            results.append(compare(path, options, budget))
            print(json.dumps(results[-1], indent=2))
            found = {"machine": before, "cores_used": options.cores or "all", "files": results}
            written = save("read", found, options.output)
            plot(results, written.with_suffix(".html"))
    print(f"wrote {written}")


def _made(folder: str, options: argparse.Namespace) -> Iterator[Path]:
    if options.grow:
        source, megabytes = Path(options.grow[0]), float(options.grow[1])
        path = Path(folder) / f"{source.name.split('.json')[0]}_grown_{megabytes:g}mb.json.gz"
        grow_trace(source, path, megabytes)
        yield path
    for size in options.generate:
        path = Path(folder) / f"generated_{size:g}mb.json.gz"
        write_trace(path, megabytes=size, cpu_ops=True)
        yield path


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measured(lambda: READERS[sys.argv[2]](Path(sys.argv[3])))))
    else:
        main()
