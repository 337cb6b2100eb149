"""Which files of a run's trace are kept: Kineto JSON, compact store, or both (`--keep`)."""

from __future__ import annotations

from dataclasses import dataclass

from trace_timing.errors import UsageError
from trace_timing.recording.storage.directory import CaptureDirectory, refused

JSON, STORE = "json.gz", "parquet"


@dataclass(frozen=True, kw_only=True)
class KeepPolicy:
    """How many runs keep their JSON (None: all), and whether stores are made."""

    json_runs: int | None
    store: bool

    @classmethod
    def parse(cls, text: str) -> KeepPolicy:
        """From `json`, `store`, `both`, or `first:N` (JSON of the first N runs, store of all)."""
        match text.partition(":"):
            case "json", "", "":
                return cls(json_runs=None, store=False)
            case "store", "", "":
                return cls(json_runs=0, store=True)
            case "both", "", "":
                return cls(json_runs=None, store=True)
            case "first", ":", number if number.isdecimal():
                return cls(json_runs=int(number), store=True)
        raise UsageError(
            f"--keep {text} means nothing", remedy="give json, store, both or first:N, as first:20"
        )


class TraceRetention:
    """Applies a policy to traces as they come, each stored as JSON first."""

    def __init__(self, directory: CaptureDirectory, keep: KeepPolicy) -> None:
        self._directory = directory
        self._keep = keep
        self._seen = sum(1 for _ in directory.traces.glob(f"*.k{directory.rank}.{JSON}"))

    def apply(self, name: str) -> tuple[str, ...]:
        """Make a trace's store, delete its JSON unless that is kept; returns the endings left.

        Raises:
            StorageError: the disk is full.
        """
        allowed = self._keep.json_runs
        json_stays = allowed is None or self._seen < allowed
        self._seen += json_stays
        if self._keep.store:
            self._make_store(name)
        if not json_stays:
            self._directory.trace_path(name, JSON).unlink()
        return tuple([JSON] * json_stays + [STORE] * self._keep.store)

    def _make_store(self, name: str) -> None:
        """Write the compact store of a trace."""
        from trace_timing.trace.files.store import write_store
        from trace_timing.trace.kineto.reader import read_trace

        path = self._directory.trace_path(name, STORE)
        try:
            # With the CPU ops of a `full` profile, which show the model's components.
            write_store(read_trace(self._directory.trace_path(name, JSON), cpu_ops=True), path)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise refused(error, path) from error
