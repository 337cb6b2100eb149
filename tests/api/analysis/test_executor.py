"""Many traces: the same tables whatever the processes or workers, and nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.paths import SAMPLE_TRACES
from tests.trace.kineto_files import CALL, KERNEL, RANGE, write
from trace_timing.api.analysis import executor, worker
from trace_timing.api.analysis.analyze import analyze
from trace_timing.api.analysis.executor import spread
from trace_timing.api.analysis.inputs import find_inputs
from trace_timing.api.analysis.result import Analysis
from trace_timing.api.analysis.watch import watch
from trace_timing.api.analysis.worker import Outcome, Settings, analyze_trace
from trace_timing.errors import UsageError
from trace_timing.stats.trace.trace_result import TraceResult, TraceSource, result_of
from trace_timing.trace.events import Trace

pytestmark = pytest.mark.slow
KILLER = "killer"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """16 small traces, each of its own length, and a bad one."""
    traces = tmp_path / "traces"
    traces.mkdir()
    for number in range(16):
        add_trace(traces, number)
    (traces / "bad.json").write_text("{")
    return traces


def add_trace(folder: Path, number: int) -> None:
    kernel = {**KERNEL, "dur": 1 + number}
    write(folder / f"run{number:02d}.json", {"traceEvents": [RANGE, CALL, kernel]})


def assert_same(one: Analysis, other: Analysis) -> None:
    assert one.summary() == other.summary()
    for name, table in one.tables.items():
        assert table.equals(other.tables[name], check_metadata=True), name
        assert ipc(table) == ipc(other.tables[name]), name


def ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return bytes(sink.getvalue().to_pybytes())


def test_the_tables_do_not_depend_on_the_number_of_processes(folder: Path) -> None:
    alone = analyze(folder)
    assert len(alone.run_summaries) == 16
    assert len(alone.rejections) == 1
    assert_same(analyze(folder, jobs=2), alone)


def dies_on_killer(source: TraceSource, settings: Settings) -> Outcome:
    """Stands in for analyze_trace in a worker: killed from outside at one trace."""
    if KILLER in source.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return analyze_trace(source, settings)


def test_a_trace_that_kills_its_process_costs_that_trace(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "killer.json", {"traceEvents": [RANGE]})
    sources = list(enumerate(find_inputs([str(folder)]).sources))
    monkeypatch.setattr(executor, "analyze_trace", dies_on_killer)
    outcomes = dict(spread(sources, Settings(), jobs=2))
    assert sorted(outcomes) == list(range(18))
    refused = {o.source.name for o in outcomes.values() if o.rejection}
    assert refused == {"bad.json", "killer.json"}


def dies_once(source: TraceSource, settings: Settings) -> Outcome:
    """A worker killed in mid-run, as by the system's memory killer; the trace is not to blame."""
    mark = Path(os.environ["TEST_KILL_MARK"])
    if source.name == "run07.json" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return analyze_trace(source, settings)


def test_a_script_without_a_main_guard_is_told_so(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from trace_timing.api.analysis.analyze import analyze\n"
        "from trace_timing.errors import UsageError\n"
        "try:\n"
        f"    analyze({str(folder)!r}, jobs=2)\n"
        "except UsageError as error:\n"
        "    print(error.remedy)\n"
    )
    command = [sys.executable, str(script)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert 'if __name__ == "__main__":' in done.stdout


def test_a_process_killed_in_mid_run_loses_nothing_and_doubles_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = analyze(folder)
    monkeypatch.setenv("TEST_KILL_MARK", str(tmp_path / "mark"))
    monkeypatch.setattr(executor, "analyze_trace", dies_once)
    assert_same(analyze(folder, jobs=2), expected)
    assert (tmp_path / "mark").exists()


def test_resuming_reads_only_what_has_no_result_yet(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = tmp_path / "parts"

    def stop_after_ten(outcome: Outcome, done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyze(folder, parts=parts, progress=stop_after_ten)
    done: list[str] = []

    def counting(source: TraceSource, settings: Settings) -> Outcome:
        done.append(source.name)
        return analyze_trace(source, settings)

    expected = analyze(folder)
    with monkeypatch.context() as patch:
        patch.setattr(executor, "analyze_trace", counting)
        resumed = analyze(folder, parts=parts, resume=True)
    assert_same(resumed, expected)
    # bad.json sorts first, fails and is tried again; of the others nine were there.
    assert sorted(done) == ["bad.json", *(f"run{n:02d}.json" for n in range(9, 16))]


def test_a_trace_that_changed_since_is_analysed_again(folder: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    analyze(folder, parts=parts, resume=True)
    kernel = {**KERNEL, "dur": 1234}
    write(folder / "run03.json", {"traceEvents": [RANGE, CALL, kernel]})
    assert_same(analyze(folder, parts=parts, resume=True), analyze(folder))


def test_a_damaged_part_is_made_anew(folder: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    expected = analyze(folder, parts=parts, resume=True)
    for number, part in enumerate(sorted(parts.iterdir())):
        part.write_bytes(part.read_bytes()[: number * 100])
    assert_same(analyze(folder, parts=parts, resume=True), expected)


def test_resuming_keeps_what_controls_say(tmp_path: Path) -> None:
    first = analyze(SAMPLE_TRACES, parts=tmp_path, resume=True)
    assert first.recording_effect is not None
    assert first.recording_effect.groups
    resumed = analyze(SAMPLE_TRACES, parts=tmp_path, resume=True)
    assert_same(resumed, first)
    assert [d.run for d in resumed.details] == [d.run for d in first.details]


def test_a_defect_of_ours_costs_the_trace_that_shows_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(trace: Trace, *rest: Any, **more: Any) -> TraceResult:
        if trace.source.endswith("run05.json"):
            raise ZeroDivisionError("by nothing\nat all")
        return result_of(trace, *rest, **more)

    monkeypatch.setattr(worker, "result_of", breaks)
    found = analyze(folder)
    assert (len(found.run_summaries), found.exit_code) == (15, 1)
    (rejection,) = (r for r in found.rejections if r.source == "run05.json")
    assert rejection.reason.endswith("ZeroDivisionError: by nothing")
    assert "--debug" in rejection.remedy
    with pytest.raises(ZeroDivisionError):
        analyze(folder, debug=True)


def test_no_trace_is_handed_out_far_ahead_of_one_under_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = find_inputs([str(folder)]).sources[0]
    waiting = [(7, source)]
    monkeypatch.setattr(executor, "_WINDOW", 5)
    assert executor._within_window(waiting, [(3, source)])
    assert not executor._within_window(waiting, [(2, source), (6, source)])
    assert executor._within_window(waiting, [])
    assert not executor._within_window([], [])


def test_a_complete_analysis_leaves_no_parts(folder: Path, tmp_path: Path) -> None:
    analyze(folder, parts=tmp_path / "parts")
    assert not (tmp_path / "parts").exists()


def test_watching_reads_each_trace_once_and_a_half_written_one_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_trace(tmp_path, 0)
    read: list[str] = []

    def counting(source: TraceSource, settings: Settings) -> Outcome:
        read.append(source.name)
        return analyze_trace(source, settings)

    events = iter(
        [
            lambda: (tmp_path / "run01.json").write_text('{"traceEv'),
            lambda: add_trace(tmp_path, 1),
            lambda: None,
            lambda: add_trace(tmp_path, 2),
        ]
    )

    def idle() -> None:
        happen = next(events, None)
        if happen is None:
            raise KeyboardInterrupt
        happen()

    monkeypatch.setattr(executor, "analyze_trace", counting)
    seen: list[tuple[int, int]] = []
    shown: list[int] = []
    with suppress(KeyboardInterrupt):
        for found in watch(tmp_path, idle=idle):
            seen.append((len(found.run_summaries), len(found.rejections)))
            shown.append(len(found.details))
    assert seen == [(1, 0), (1, 1), (2, 0), (3, 0)]
    assert shown == [1, 1, 2, 3]  # timelines in the report
    assert read == ["run00.json", "run01.json", "run01.json", "run02.json"]


# Dask ------------------------------------------------------------------------------------------


@contextmanager
def started(*command: str, ready: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of the cluster, and the line that says it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        said = next((line for line in process.stdout if ready in line), "")
        assert said, f"{command} did not start"
        yield process, said
    finally:
        process.kill()
        process.wait()


@contextmanager
def cluster(workers: int = 2) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """A real Dask scheduler on loopback, with worker processes."""
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    with started("distributed.cli.dask_scheduler", *options, ready="Scheduler at") as (_, said):
        address = said.split()[-1]
        worker = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny")
        worker += ("--no-dashboard",)
        with ExitStack() as stack:
            each = (started(*worker, ready="Registered to") for _ in range(workers))
            yield address, [stack.enter_context(one)[0] for one in each]


def test_a_cluster_gives_the_same_tables_and_a_killed_worker_loses_nothing(folder: Path) -> None:
    expected = analyze(folder)
    with cluster() as (address, workers):
        assert_same(analyze(folder, scheduler=address), expected)

        def kill_one(outcome: Outcome, done: int, total: int) -> None:
            if done == 3:
                workers[0].kill()

        assert_same(analyze(folder, scheduler=address, progress=kill_one), expected)
        assert workers[0].wait(timeout=10) != 0


def each_dies_on_killer(sources: list[TraceSource], settings: Settings) -> list[Outcome]:
    """Stands in for what a task of the cluster does."""
    return [dies_on_killer(source, settings) for source in sources]


def test_a_trace_that_kills_workers_costs_that_trace_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "killer.json", {"traceEvents": [RANGE]})
    sources = list(enumerate(find_inputs([str(folder)]).sources))
    # The others in its task, and those that wait behind it on its worker, are not to blame.
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    monkeypatch.setattr(executor, "_analyze_each", each_dies_on_killer)
    with cluster(workers=3) as (address, _):
        outcomes = dict(spread(sources, Settings(), jobs=1, scheduler=address))
    assert sorted(outcomes) == list(range(18))
    refused = {o.source.name for o in outcomes.values() if o.rejection}
    assert refused == {"bad.json", "killer.json"}


def test_a_scheduler_that_is_not_there_is_an_error_with_a_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "CONNECT_TIMEOUT", "1s")
    with pytest.raises(UsageError, match="no Dask scheduler") as caught:
        analyze(folder, scheduler="tcp://127.0.0.1:9")
    assert caught.value.remedy


def test_without_dask_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match="distributed") as caught:
        analyze(folder, scheduler="tcp://127.0.0.1:9")
    assert "cluster" in caught.value.remedy
