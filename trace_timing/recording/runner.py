"""Runs one generate() call profiled and as its controls, and makes their records.

A group is a profiled run and its K controls. Where the profiled run stands in its group rotates,
so that neither role always runs on the warmer cache; each run starts from the same random state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from trace_timing.recording import kineto_files
from trace_timing.recording.boundaries import Sink
from trace_timing.recording.control import ControlSink, HostMarks, Marks, StreamMarks
from trace_timing.recording.files import PARTIAL, CaptureDirectory, sha256
from trace_timing.recording.health import SessionHealth
from trace_timing.recording.machine import MachineWatch, resident_bytes
from trace_timing.recording.outputs import Tokens, count
from trace_timing.recording.session import ProfilerSession, timed
from trace_timing.recording.sinks import ProfilerSink
from trace_timing.records import ControlTimes, ProfileMode, Role, RunRecord, run_name

CachePolicy = Literal["keep", "empty"]
#: The host's generator and each device's.
RandomState = tuple[torch.Tensor, list[torch.Tensor]]
#: Every tenth control is bare: its total shows what hooks and events cost the others.
BARE_EVERY = 10
#: Taken before the first profiler session of the process, to see whether profiling slows it.
EARLY_CONTROLS = 3
#: Sessions in which a sample may be profiled before it is refused for lost kernels.
ATTEMPTS = 3
#: Pads double at each loss, since it grows with the sessions; so many cost some 40 ms.
MOST_PADS = 8192
TOKENS_DIFFER = "its tokens differ from the profiled run's: the pair is dropped"


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What is the same for every run of a capture."""

    profile: ProfileMode = "ranges"
    controls: int = 1
    cuda_cache: CachePolicy = "keep"
    #: An unmeasured run between a stored trace and the next control: on an H200 a run of 22 ms took
    #: 4 % to 6 % longer right after one, the run after that no longer (benchmarks/aftermath.py).
    settle: bool = True


@dataclass(frozen=True, kw_only=True)
class Call:
    """One generate() call that can be made again: what to run, and what is known of it."""

    sample_id: str
    repeat: int
    run: Callable[[], Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: A call that must not be made twice (a user's own loop with effects): no control, no retry.
    repeatable: bool = True


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one call gave, before it is a record."""

    output: Any
    record: RunRecord


class SinkSlot:
    """Where the hooks look for the sink of the run that is under way; None leaves them inert."""

    def __init__(self) -> None:
        self.sink: Sink | None = None

    def __call__(self) -> Sink | None:
        """The present sink."""
        return self.sink


class Runner:
    """Makes the runs of one process, in order, into one capture directory.

    Args:
        detached: called around a bare control; takes every hook off and puts them back.
        on_trace: what to do with a stored trace (name → endings that stay).
    """

    def __init__(
        self,
        *,
        model: Any,
        slot: SinkSlot,
        session: ProfilerSession,
        directory: CaptureDirectory,
        settings: RunSettings,
        detached: Callable[[], Any],
        on_trace: Callable[[str], Sequence[str]],
    ) -> None:
        self._model = model
        self._slot = slot
        self._session = session
        self._directory = directory
        self._settings = settings
        self._detached = detached
        self._on_trace = on_trace
        self._watch = MachineWatch()
        self._devices = devices_of(model)
        self._spare_events: list[Any] = []
        self._ordinal = 0
        self._groups = 0
        self._controls = 0
        self._pads = 0
        self.health = SessionHealth()
        #: Records of the last group, or the one record of a call that raised.
        self.last: tuple[RunRecord, ...] = ()

    def group(self, call: Call) -> Outcome:
        """Run a call profiled and as its controls, store the records, return the profiled one.

        Raises:
            Exception: whatever the call raised, untouched, after the run was recorded as failed.
            StorageError: the records or the trace could not be written.
        """
        controls = self._settings.controls if call.repeatable else 0
        place = controls - self._groups % (controls + 1)
        self._groups += 1
        random_state = _random_state()
        before = [self._again(random_state, call, index) for index in range(place)]
        _restore(random_state)
        profiled = self.profiled(call)
        if self._settings.settle and place < controls:
            self.plain_total(call)
        after = [self._again(random_state, call, index) for index in range(place, controls)]
        records = [outcome.record for outcome in (*before, profiled, *after)]
        self._keep([_paired(record, profiled.record) for record in records])
        return profiled

    def early_controls(self, call: Call) -> None:
        """Controls of a process that has not profiled yet, kept apart from the paired ones."""
        random_state = _random_state()
        records = []
        for index in range(EARLY_CONTROLS):
            _restore(random_state)
            record = self.control(call, index=index, bare=False).record
            assert record.control is not None
            early = replace(record.control, before_profiling=True)
            records.append(replace(record, control=early))
        _restore(random_state)
        self._directory.append(records)

    def _again(self, random_state: RandomState, call: Call, index: int) -> Outcome:
        _restore(random_state)
        return self.control(call, index=index)

    def _keep(self, records: Sequence[RunRecord]) -> None:
        self._directory.append(records)
        self.last = tuple(records)

    def plain_total(self, call: Call) -> int:
        """Total of one run with hooks in place and nothing recorded, in ns: to warm, or settle."""
        random_state = _random_state()
        total_ns = self._timed_bare(call)[1].total_ns
        _restore(random_state)
        return total_ns

    def throwaway(self, call: Call) -> None:
        """A profiled run that nobody keeps: CUPTI's start and first buffers are paid here."""
        random_state = _random_state()
        self._in_session(call)
        self._drop_trace(call)
        _restore(random_state)
        if self._settings.settle:
            self.plain_total(call)

    def profiled(self, call: Call) -> Outcome:
        """One run in a profiler session of its own, tried again where the profiler lost kernels."""
        begun = self._begin()
        for attempt in range(1, ATTEMPTS + 1):
            output, losses, costs = self._guarded(call, begun, "profiled", self._in_session)
            costs |= {
                "attempts": attempt,
                "pad_kernels": self._pads,
                "lost_kernels": losses.lost,
                "generate_ns": losses.generate_ns,
            }
            self.health.saw(costs["start_ns"], resident_bytes())
            if not losses.lost or not call.repeatable:
                break
            self._pads = min(2 * (self._pads + losses.lost), MOST_PADS)
        costs["controls"] = self._settings.controls if call.repeatable else 0
        record = self._record(call, begun, "profiled", output, costs)
        if fault := _fault(losses):
            self._drop_trace(call)
            return Outcome(output=output, record=replace(record, status="failed", reason=fault))
        name = run_name(call.sample_id, call.repeat, self._directory.rank)
        endings = self._on_trace(name)
        sums = {ending: sha256(self._directory.trace_path(name, ending)) for ending in endings}
        return Outcome(output=output, record=replace(record, trace=name, sha256=sums))

    def control(self, call: Call, *, index: int = 0, bare: bool | None = None) -> Outcome:
        """The same call without a profiler, timed at the same boundaries."""
        if bare is None:
            self._controls += 1
            bare = self._controls % BARE_EVERY == 0
        begun = self._begin()
        run = self._run_bare if bare else self._run_marked
        output, times = self._guarded(call, begun, "control", run)
        record = self._record(call, begun, "control", output, {})
        return Outcome(
            output=output, record=replace(record, control=replace(times, index=index, bare=bare))
        )

    def failed(self, call: Call, reason: str, role: Role = "profiled") -> RunRecord:
        """Record that a run could not be made at all."""
        record = self._record(call, self._begin(), role, None, {})
        record = replace(record, status="failed", reason=reason)
        self._keep([record])
        return record

    def _guarded(
        self, call: Call, begun: Mapping[str, Any], role: Role, run: Callable[[Call], Any]
    ) -> Any:
        try:
            return run(call)
        except BaseException as error:
            self._slot.sink = None
            record = self._record(call, begun, role, None, {})
            reason = f"{type(error).__name__}: {_first_line(error)}"
            self._keep([replace(record, status="failed", reason=reason)])
            raise

    def _in_session(self, call: Call) -> tuple[Any, kineto_files.Losses, dict[str, Any]]:
        sink = ProfilerSink()
        start = timed(self._session.start)
        try:
            run_spare_kernels(self._devices, self._pads)
            self._slot.sink = sink
            output = call.run()
            self._synchronize()
        finally:
            self._slot.sink = None
            sink.close()
            stop = timed(self._session.stop)
        begin = time.perf_counter_ns()
        losses = self._store(call)
        costs = {"start_ns": start, "stop_ns": stop, "store_ns": time.perf_counter_ns() - begin}
        return output, losses, costs

    def _store(self, call: Call) -> kineto_files.Losses:
        name = run_name(call.sample_id, call.repeat, self._directory.rank)
        raw = self._directory.trace_path(name, "json" + PARTIAL)
        try:
            self._session.save(raw)
            text = raw.read_bytes()
        finally:
            raw.unlink(missing_ok=True)
        losses = kineto_files.inspect(text, name=call.sample_id)
        path = self._directory.trace_path(name, "json.gz")
        kineto_files.store_compressed(kineto_files.clean(text, name), path)
        return losses

    def _drop_trace(self, call: Call) -> None:
        name = run_name(call.sample_id, call.repeat, self._directory.rank)
        with suppress(OSError):
            self._directory.trace_path(name, "json.gz").unlink()

    def _run_marked(self, call: Call) -> tuple[Any, ControlTimes]:
        if len(self._devices) > 1:
            return self._timed_bare(call)
        sink = ControlSink(self._marks())
        self._slot.sink = sink
        try:
            output = call.run()
        finally:
            self._slot.sink = None
        return output, sink.times()

    def _run_bare(self, call: Call) -> tuple[Any, ControlTimes]:
        with self._detached():
            return self._timed_bare(call)

    def _timed_bare(self, call: Call) -> tuple[Any, ControlTimes]:
        if len(self._devices) > 1:
            begin = time.perf_counter_ns()
            output = call.run()
            self._synchronize()
            return output, ControlTimes(total_ns=time.perf_counter_ns() - begin, clock="host")
        marks = self._marks()
        marks.mark()
        output = call.run()
        marks.mark()
        return output, ControlTimes(total_ns=marks.since_first_ns()[-1], clock=marks.clock)

    def _marks(self) -> Marks:
        if not self._devices:
            return HostMarks()
        return StreamMarks(self._devices[0], self._spare_events)

    def _begin(self) -> dict[str, Any]:
        """The same state before every run of either role, then a reading of it."""
        self._synchronize()
        if self._devices:
            if self._settings.cuda_cache == "empty":
                torch.cuda.empty_cache()
            for device in self._devices:
                torch.cuda.reset_peak_memory_stats(device)
        ordinal, self._ordinal = self._ordinal, self._ordinal + 1
        before = self._watch.read()
        return {"ordinal": ordinal, "started_unix_ns": time.time_ns(), "before": before}

    def _record(
        self, call: Call, begun: Mapping[str, Any], role: Role, output: Any, costs: dict[str, Any]
    ) -> RunRecord:
        tokens = Tokens() if output is None else count(output, call.inputs, self._model)
        machine = {"before": begun["before"], "after": self._watch.read()}
        if costs:
            machine["session"] = costs
        if role == "control" and len(self._devices) > 1:
            machine["segments_missing"] = "the model spans several devices: total alone"
        return RunRecord(
            sample_id=call.sample_id,
            role=role,
            repeat=call.repeat,
            rank=self._directory.rank,
            tokens_in=tokens.tokens_in,
            tokens_out=tokens.tokens_out,
            tokens_out_total=tokens.tokens_out_total,
            tokens_sha256=tokens.tokens_sha256,
            ordinal=begun["ordinal"],
            started_unix_ns=begun["started_unix_ns"],
            metadata=call.metadata,
            machine=machine,
        )

    def _synchronize(self) -> None:
        for device in self._devices:
            torch.cuda.synchronize(device)


def run_spare_kernels(devices: Sequence[torch.device], number: int) -> None:
    """Kernels for a profiler to lose in the place of the sample's own."""
    for device in devices:
        spare = torch.empty(1, device=device)
        for _ in range(number):
            spare.fill_(1)
        torch.cuda.synchronize(device)


def devices_of(model: Any) -> list[torch.device]:
    """The CUDA devices that hold parameters of the model, by index."""
    found = {p.device for p in model.parameters() if p.device.type == "cuda"}
    return sorted(found, key=lambda device: device.index or 0)


def _fault(losses: kineto_files.Losses) -> str | None:
    if losses.lost:
        return (
            f"the profiler lost {losses.lost} of {losses.launches} kernels "
            f"in {ATTEMPTS} sessions, as CUPTI 12.6U2 to 13.0 may: use a newer CUDA"
        )
    return None if losses.ranges else "the trace holds no generate range"


def _paired(record: RunRecord, profiled: RunRecord) -> RunRecord:
    if record.role == "control" and record.tokens_sha256 != profiled.tokens_sha256:
        return replace(record, status="failed", reason=TOKENS_DIFFER)
    return record


def _random_state() -> RandomState:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), cuda


def _restore(state: RandomState) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
