"""Spread traces over processes of this machine, or over a Dask cluster.

Both yield (position, outcome) as outcomes come, in any order. A trace whose worker died is tried
again alone, and rejected if it kills that worker too. Outcomes are not kept here.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from trace_timing.api.analysis.worker import Outcome, Settings, analyze_trace
from trace_timing.errors import UsageError
from trace_timing.records.findings import Rejection
from trace_timing.stats.trace.trace_result import TraceSource

#: Traces queued for each worker: enough that none waits, few enough for memory.
_AHEAD = 3
#: Traces in one task of a cluster: a task costs scheduler, client and worker together about 20 ms,
#: a sample trace 25 ms of analysis.
_AT_A_TIME = 8
#: Largest distance between the first trace in progress and the next one submitted: results are
#: needed in order, and those that come early are held in memory.
_WINDOW = 200
#: Fewest traces for several processes: fewer are done before these have imported what they need.
_WORTH_A_POOL = 8
CONNECT_TIMEOUT = "20s"

Numbered = tuple[int, TraceSource]


def available_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def spread(
    sources: Sequence[Numbered], settings: Settings, *, jobs: int, scheduler: str | None = None
) -> Iterator[tuple[int, Outcome]]:
    """Analyse numbered traces; yields one outcome for each number.

    Args:
        jobs: processes on this machine.
        scheduler: address of a Dask scheduler to use instead; its workers must see the traces under
            the same paths or URLs.
    """
    if scheduler is not None:
        yield from _on_cluster(sources, settings, scheduler)
    elif jobs <= 1 or len(sources) < _WORTH_A_POOL:
        for number, source in sources:
            yield number, analyze_trace(source, settings)
    else:
        yield from _on_processes(sources, settings, min(jobs, len(sources)))


def _on_processes(
    sources: Sequence[Numbered], settings: Settings, jobs: int
) -> Iterator[tuple[int, Outcome]]:
    """Analyse in pools; when one breaks, its traces in progress are tried again one by one."""
    waiting = list(reversed(sources))
    while waiting:
        suspects: list[Numbered] = []
        yield from _pool_until_broken(waiting, settings, jobs, suspects)
        if suspects:
            _check_that_processes_start()
        # One of those in progress killed its worker; each alone in a pool shows which.
        for number, source in suspects:
            yield number, _alone(source, settings)


def _pool_until_broken(
    waiting: list[Numbered], settings: Settings, jobs: int, suspects: list[Numbered]
) -> Iterator[tuple[int, Outcome]]:
    """Yield outcomes until all are done or the pool breaks, which leaves `suspects`."""
    running: dict[Future[Outcome], Numbered] = {}
    with _pool(jobs) as pool:
        try:
            while waiting or running:
                while len(running) < jobs * _AHEAD and _within_window(waiting, running.values()):
                    # Noted before submission: a pool that breaks here must not lose it.
                    item = waiting[-1]
                    running[pool.submit(analyze_trace, item[1], settings)] = item
                    waiting.pop()
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    outcome = done.result()
                    number, _ = running.pop(done)
                    yield number, outcome
        except BrokenProcessPool:
            for future, item in running.items():
                if future.done() and not future.exception():
                    yield item[0], future.result()
                else:
                    suspects.append(item)


def _within_window(waiting: Sequence[Numbered], running: Collection[Numbered]) -> bool:
    """Whether there is a next trace, not too far after the first in progress."""
    if not waiting or not running:
        return bool(waiting)
    return waiting[-1][0] - min(number for number, _ in running) < _WINDOW


def _check_that_processes_start() -> None:
    """Start a process as a test.

    Raises:
        UsageError: it ends before it can be given a trace.
    """
    with _pool(1) as pool:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise UsageError(
                "the processes that analyse traces end as soon as they start",
                why="each runs the main script anew, and that starts processes of its own "
                "where it has no main guard",
                remedy='put the call under `if __name__ == "__main__":`, or pass jobs=1',
            ) from error


def _alone(source: TraceSource, settings: Settings) -> Outcome:
    with _pool(1) as pool:
        try:
            return pool.submit(analyze_trace, source, settings).result()
        except BrokenProcessPool:
            return _killer(source, "it killed the process that analysed it")


def _killer(source: TraceSource, reason: str) -> Outcome:
    remedy = "analyze it alone; if memory ran out, on a machine with more"
    return Outcome(source, None, Rejection(source=source.name, reason=reason, remedy=remedy))


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Not fork: Arrow's and fsspec's threads do not survive it.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=one_thread_each)


def one_thread_each() -> None:
    """Keep Arrow from starting one thread per core in every process."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def _on_cluster(
    sources: Sequence[Numbered], settings: Settings, scheduler: str
) -> Iterator[tuple[int, Outcome]]:
    """Analyse on a Dask cluster."""
    distributed = _distributed()
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_TIMEOUT)
    except OSError as error:
        raise UsageError(
            f"no Dask scheduler answers at {scheduler}",
            why=str(error) or type(error).__name__,
            remedy="start one with `dask scheduler`, and workers with `dask worker`",
        ) from error
    with client:
        yield from _through(client, distributed, list(reversed(sources)), settings)


def _through(
    client: Any, distributed: Any, waiting: list[Numbered], settings: Settings
) -> Iterator[tuple[int, Outcome]]:
    """As `_on_processes`, on a cluster."""
    while waiting:
        suspects: list[Numbered] = []
        yield from _several_at_a_time(client, distributed, waiting, settings, suspects)
        # One of those on the dead worker killed it; each alone on the cluster shows which.
        for number, source in suspects:
            yield number, _alone_on_cluster(client, distributed, source, settings)


def _several_at_a_time(
    client: Any,
    distributed: Any,
    waiting: list[Numbered],
    settings: Settings,
    suspects: list[Numbered],
) -> Iterator[tuple[int, Outcome]]:
    """Yield outcomes of tasks of several traces; those of dead workers go to `suspects`."""
    running: dict[Any, list[Numbered]] = {}
    # Results are fetched as they come, while others are analysed.
    queue = distributed.as_completed(with_results=True, raise_errors=False)

    def send() -> None:
        """Submit tasks until every worker has enough."""
        workers = max(sum(client.nthreads().values()), 1)
        unfinished = [*suspects, *(item for items in running.values() for item in items)]
        while len(running) < workers * _AHEAD and _within_window(waiting, unfinished):
            # Smaller tasks towards the end, so that no worker is left with the rest.
            size = max(min(_AT_A_TIME, len(waiting) // (2 * workers)), 1)
            items = [waiting.pop() for _ in range(size)]
            unfinished += items
            future = _submit(client, [source for _, source in items], settings)
            running[future] = items
            queue.add(future)

    send()
    for future, outcomes in queue:
        items = running.pop(future)
        if future.status == "error":
            _, error, _ = outcomes
            if not isinstance(error, distributed.KilledWorker):
                raise error
            suspects += items
            send()
            continue
        send()
        yield from zip((number for number, _ in items), outcomes, strict=True)


def _alone_on_cluster(
    client: Any, distributed: Any, source: TraceSource, settings: Settings
) -> Outcome:
    """Analyse one suspect; reject it if its worker dies again."""
    try:
        outcome: Outcome = _submit(client, [source], settings).result()[0]
    except distributed.KilledWorker as error:
        return _killer(source, f"it killed the workers that analysed it: {error}")
    return outcome


def _submit(client: Any, sources: Sequence[TraceSource], settings: Settings) -> Any:
    # Not pure: the same path may hold another trace than in an earlier run.
    return client.submit(_analyze_each, sources, settings, pure=False)


def _analyze_each(sources: Sequence[TraceSource], settings: Settings) -> list[Outcome]:
    return [analyze_trace(source, settings) for source in sources]


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise UsageError(
            "--scheduler needs Dask distributed",
            why=str(error),
            remedy='install it: pip install "trace-timing[cluster]"',
        ) from error
    return distributed
