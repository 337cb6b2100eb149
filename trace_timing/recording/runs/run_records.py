"""Make run records, with the machine's state before and after each run, and write them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch

from trace_timing.recording.profiling.detach import CuptiAttachment
from trace_timing.recording.profiling.machine_state import MachineWatch, host_load
from trace_timing.recording.runs.calls import Call, RunSettings, devices_of, synchronize
from trace_timing.recording.runs.outputs import Tokens, count
from trace_timing.recording.storage.directory import CaptureDirectory
from trace_timing.records.runs import Role, RunRecord

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """Begin of a run: its ordinal in the process, the time, and the machine's state before it."""

    ordinal: int
    started_unix_ns: int
    before: Mapping[str, Any]


class RecordMaker:
    """Makes the records of one process's runs and writes them into its capture directory."""

    def __init__(
        self,
        model: Any,
        directory: CaptureDirectory,
        settings: RunSettings,
        attachment: CuptiAttachment,
    ) -> None:
        self._model = model
        self._directory = directory
        self._settings = settings
        self._attachment = attachment
        self._watch = MachineWatch()
        self._devices = devices_of(model)
        self._ordinal = 0
        #: Records written since `forget`.
        self.last: tuple[RunRecord, ...] = ()

    def forget(self) -> None:
        """Clear `last`, before the next call."""
        self.last = ()

    def begin(self) -> Beginning:
        """Bring the process into the same state before every run, and read the machine's state."""
        synchronize(self._devices)
        if self._devices:
            if self._settings.cuda_cache == "empty":
                torch.cuda.empty_cache()
            for device in self._devices:
                torch.cuda.reset_peak_memory_stats(device)
        ordinal, self._ordinal = self._ordinal, self._ordinal + 1
        probe = self._attachment.probe
        cost = None if probe is None else round(probe.quick_ns(), 1)
        before = {**self._watch.read(), "probe_ns": cost, **host_load()}
        return Beginning(ordinal=ordinal, started_unix_ns=time.time_ns(), before=before)

    def made(
        self,
        call: Call,
        beginning: Beginning,
        role: Role,
        output: Any,
        more: Mapping[str, Any] | None = None,
    ) -> RunRecord:
        """The record of a run that has ended; `more` goes into its `machine`."""
        tokens = Tokens() if output is None else count(output, call.inputs, self._model)
        machine = {"before": beginning.before, "after": self._watch.read(), **(more or {})}
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
            ordinal=beginning.ordinal,
            started_unix_ns=beginning.started_unix_ns,
            metadata=call.metadata,
            machine=machine,
        )

    def guarded(self, call: Call, beginning: Beginning, role: Role, run: Callable[[], T]) -> T:
        """Return what `run` returns; if it raises, record the run as failed and raise again."""
        try:
            return run()
        except BaseException as error:
            reason = f"{type(error).__name__}: {_first_line(error)}"
            record = self.made(call, beginning, role, None)
            self.write([replace(record, status="failed", reason=reason)])
            raise

    def failed(self, call: Call, reason: str, role: Role) -> None:
        """Record that a run could not be made."""
        record = self.made(call, self.begin(), role, None)
        self.write([replace(record, status="failed", reason=reason)])

    def write(self, records: Sequence[RunRecord]) -> None:
        """Append records to the directory.

        Raises:
            StorageError: the disk is full.
        """
        if records:
            self._directory.append(records)
            self.last += tuple(records)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
