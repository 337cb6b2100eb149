"""Fuzzing: mutated small traces against the plain figures of tests/plain.

    python -m benchmarks.fuzz                      # 3,000 cases, as the gate runs it
    python -m benchmarks.fuzz --cases 100000 --jobs 8
    python -m benchmarks.fuzz --only 1234          # one case again, with its traceback

Each case is a recorded trace cut down to some hundred events, with one to three mutations: of
fields, events and text. It must be refused in words, or give the plain figures to the nanosecond;
what touches nothing that is timed must not be refused. A stage that moves by more than 5 % needs a
warning, unless all changes are of the kinds listed in `fuzz_changes`. The tally is printed; exit
code 1 if any case is wrong.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fuzz_changes import EVERY, changes_of, valid_kinds
from benchmarks.fuzz_mutations import Mutant, mutant
from benchmarks.small_traces import small_traces
from tests.plain.figures import Refused, Row, Unreadable
from tests.plain.processes import Ranks, figures_of_each
from trace_timing.api.analysis.worker import Outcome, Settings, analyze_trace
from trace_timing.stats.trace.trace_result import TraceResult, TraceSource
from trace_timing.trace.files.reading import open_trace
from trace_timing.trace.files.store import read_store, write_store
from trace_timing.trace.kineto import inflating, reader

REPOSITORY = Path(__file__).resolve().parent.parent
MOST_SECONDS = 10.0
MOST_BYTES = 10**9
#: A figure that moved by more than this should carry a warning.
MOVED_FRAC = 0.05
VALID_TRACE = "accepted: a stage moved by more than 5 %, another valid trace"

WRONG = (
    "exception outside the project's own",
    "over 10 s",
    "over 1 GB",
    "silent change: other figures than the plain ones",
    "silent change: accepted, to be refused",
    "silent change: damaged text, other figures, no warning",
    "silent change: a stage moved by more than 5 %, no warning",
    "lost: refused for what is not timed",
    "a check does not hold",
)


@dataclass(frozen=True)
class Verdict:
    """How a case ended, with its evidence."""

    case: int
    kinds: tuple[str, ...]
    ended: str
    detail: str = ""


def run_case(case: int, seeds: list[str], folder: Path) -> Verdict:
    """Make, analyse and judge one case; the same number gives the same case."""
    rng = random.Random(f"trace-timing {case}")
    one = mutant(rng, rng.choice(seeds))
    path = folder / f"case.json{'.gz' if one.gzipped else ''}"
    path.write_bytes(one.data)
    # Small pieces, so that small traces are cut in many places.
    inflating.BLOCK_BYTES = reader.PIECE_BYTES = rng.choice([256, 4096, 1 << 19])
    kinds, begun = one.kinds, time.process_time()
    try:
        found = analyze(path, folder)
    except MemoryError:
        return Verdict(case, kinds, "over 1 GB")
    except Exception:
        detail = traceback.format_exc(limit=-4)
        return Verdict(case, kinds, "exception outside the project's own", detail=detail)
    if time.process_time() - begun > MOST_SECONDS:
        return Verdict(case, kinds, "over 10 s")
    ended, detail = judged(one, found)
    return Verdict(case, kinds, ended, detail)


def analyze(path: Path, folder: Path) -> Outcome:
    """Analyse a trace; if it was read, also write and read its compact store."""
    source = TraceSource(location=str(path), name=path.name, sample_id="case")
    found = analyze_trace(source, Settings(debug=True))
    if found.result:
        store = folder / "case.parquet"
        write_store(open_trace(path), store)
        read_store(store)
    return found


def judged(one: Mutant, found: Outcome) -> tuple[str, str]:
    """How a case ended, by the plain figures of its own text or of the text without its damage."""
    if found.rejection:
        if one.harmless:
            return "lost: refused for what is not timed", found.rejection.reason
        return "refused", ""
    assert found.result
    mine = rows_of(found.result)
    if broken := broken_checks(found.result):
        return "a check does not hold", "; ".join(broken)
    try:
        plain = figures_of_each(one.readable)
    except Refused as error:
        return "silent change: accepted, to be refused", str(error)
    except Unreadable:
        if same(mine, figures_of_each(one.seed)):
            return "accepted, damaged text: figures as before", ""
        if warnings(found.result) & {"text_put_right", "events_left_out"}:
            return "accepted, damaged text: said so", ""
        return "silent change: damaged text, other figures, no warning", ""
    if not same(mine, plain):
        return "silent change: other figures than the plain ones", difference(mine, plain)
    if moved := silently_moved(one, found.result):
        kinds = valid_kinds(one.seed, one.readable)
        if kinds is None:
            detail = "\n".join([moved, *map(str, changes_of(one.seed, one.readable))])
            return "silent change: a stage moved by more than 5 %, no warning", detail
        return VALID_TRACE, ", ".join(sorted(set(kinds)))
    if len(plain) > 1:
        return "accepted, several processes: figures are the plain ones", ""
    return "accepted: figures are the plain ones", ""


def run_of(row: dict[str, Any]) -> int | None:
    """The number of a row's run: of several, each is a sample `case#0`, `case#1` …"""
    sample, repeat = row["sample_id"], row["repeat"]
    return int(sample.split("#")[1]) if "#" in sample else repeat


def rows_of(result: TraceResult) -> Ranks:
    """The figures of the table `stages`."""
    ranks: Ranks = {}
    for row in result.tables["stages"].to_pylist():
        ranks.setdefault(row["rank"], {})[run_of(row), row["stage"]] = Row(
            row["window_ns"] or 0, row["busy_ns"] or 0, row["kernel_sum_ns"] or 0, row["gpu_ops"]
        )
    return ranks


def by_key(ranks: Ranks) -> dict[tuple[int, int | None, str], Row]:
    """Rows by rank, run and stage; an empty row for a missing key."""
    return defaultdict(
        Row, {(r, *key): row for r, some in ranks.items() for key, row in some.items()}
    )


def same(mine: Ranks, plain: Ranks) -> bool:
    """Whether both have the same figures."""
    return not difference(mine, plain)


def difference(mine: Ranks, plain: Ranks) -> str:
    """The rows that differ."""
    ours, theirs = by_key(mine), by_key(plain)
    keys = sorted(ours.keys() | theirs.keys(), key=str)
    return "; ".join(f"{k}: {ours[k]} for {theirs[k]}" for k in keys if ours[k] != theirs[k])


def warnings(result: TraceResult) -> set[str]:
    """Codes of all warnings of the trace and its runs."""
    return {
        w.code for w in (*result.summary.warnings, *(w for r in result.runs for w in r.warnings))
    }


def broken_checks(result: TraceResult) -> list[str]:
    """Details of the checks that do not hold."""
    checks = [*result.summary.checks, *(check for run in result.runs for check in run.checks)]
    return [check.detail for check in checks if not check.holds]


def silently_moved(one: Mutant, result: TraceResult) -> str:
    """Stages that changed by more than MOVED_FRAC without a new warning."""
    if warnings(result) - warnings_of(one.seed):
        return ""
    mine, before = by_key(in_order(rows_of(result))), by_key(in_order(figures_of_each(one.seed)))
    moved = [
        f"{key}: {row.window} ns to {mine[key].window} ns"
        for key, row in before.items()
        if abs(mine[key].window - row.window) > MOVED_FRAC * row.window
    ]
    return "; ".join(moved)


def in_order(ranks: Ranks) -> Ranks:
    """Under 0, 1, …: a process that is renamed has another rank and has not moved."""
    return dict(enumerate(ranks[rank] for rank in sorted(ranks)))


#: A file system without a disk behind it: each case is written and synced.
_IN_MEMORY = Path("/dev/shm")
_warnings: dict[str, set[str]] = {}


def warnings_of(seed: str) -> set[str]:
    """Codes of the warnings of a trace before it is mutated."""
    if seed not in _warnings:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "seed.json"
            path.write_text(seed)
            found = analyze(path, Path(folder))
            assert found.result
            _warnings[seed] = warnings(found.result)
    return _warnings[seed]


def _limit_memory() -> None:
    """Let this process map twice MOST_BYTES more than it has: what needs more fails at once."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    mapped = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + 2 * MOST_BYTES, hard))


def run_some(cases: list[int]) -> list[Verdict]:
    """Run some cases in this process, with limited memory."""
    _limit_memory()
    seeds = small_traces(REPOSITORY)
    found = []
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as folder:
        for seed in seeds:
            warnings_of(seed)
        for case in cases:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            verdict = run_case(case, seeds, Path(folder))
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            if grown * 1024 > MOST_BYTES:
                verdict = Verdict(case, verdict.kinds, "over 1 GB")
            found.append(verdict)
    return found


def run_all(first: int, count: int, jobs: int) -> Iterator[Verdict]:
    """Run all cases, spread over processes."""
    each = 250
    tasks = [
        list(range(n, min(n + each, first + count))) for n in range(first, first + count, each)
    ]
    if jobs == 1:
        for task in tasks:
            yield from run_some(task)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for some in pool.imap(run_some, tasks):
            yield from some


def tally(verdicts: list[Verdict]) -> str:
    """Number of cases by how they ended, and details of the first wrong ones."""
    ended = Counter(v.ended for v in verdicts)
    lines = [f"{len(verdicts):,} cases"]
    lines += [f"{count:8,}  {how}" for how, count in sorted(ended.items()) if how not in WRONG]
    lines += [f"{ended[how]:8,}  {how}" for how in WRONG]
    kinds = Counter(v.detail for v in verdicts if v.ended == VALID_TRACE)
    if kinds:
        lines.append(f"of what is {VALID_TRACE!r}:")
        lines += [f"{count:8,}  {kind}" for kind, count in kinds.most_common()]
        lines += [f"{valid.kind}: {valid.reason}" for valid in EVERY]
    for verdict in [v for v in verdicts if v.ended in WRONG][:20]:
        lines.append(f"case {verdict.case} ({', '.join(verdict.kinds)}): {verdict.ended}")
        lines += [f"    {line}" for line in verdict.detail.splitlines()]
    return "\n".join(lines)


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int)
    given = parser.parse_args()
    first, count = (given.first, given.cases) if given.only is None else (given.only, 1)
    verdicts = list(run_all(first, count, given.jobs))
    print(tally(verdicts))
    return int(any(v.ended in WRONG for v in verdicts))


if __name__ == "__main__":
    sys.exit(main())
