"""Check whether this machine can record trustworthy traces. Returns findings, prints nothing."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from trace_timing.recording.runs.profiler import ProfilerSession

Level = Literal["good", "note", "problem"]
#: CUPTI API numbers (cupti_version.h) of CUDA 12.6 and 13.1; versions from the first to before the
#: second may have pytorch#192021. It came with 12.6 update 2, which has the number of 12.6.
_LOSES_KERNELS_FROM, _LOSES_KERNELS_BEFORE = 24, 130100


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check, and a remedy where it is bad."""

    level: Level
    subject: str
    message: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All findings, and the versions and devices they were made on."""

    findings: tuple[Finding, ...]
    environment: dict[str, Any]

    @property
    def has_problem(self) -> bool:
        """Whether any finding makes figures wrong or recording impossible."""
        return any(finding.level == "problem" for finding in self.findings)


def diagnose() -> Diagnosis:
    """Check PyTorch, the device, the profiler's private interface and CUPTI. Never raises."""
    if importlib.util.find_spec("torch") is None:
        missing = Finding(
            level="note",
            subject="PyTorch",
            message="not installed: traces can be analysed here and none recorded",
            remedy="pip install 'trace-timing[capture]' on the machine that records",
        )
        return Diagnosis(findings=(missing,), environment={})
    import torch

    if not torch.cuda.is_available():
        return Diagnosis(
            findings=(_versions(torch), *_profiler(), _no_device()),
            environment={"torch": str(torch.__version__), "device": None},
        )
    environment = _environment(torch)
    return Diagnosis(
        findings=(_versions(torch), *_profiler(), *_device(environment), *_standing_issues()),
        environment=environment,
    )


def _environment(torch: Any) -> dict[str, Any]:
    from trace_timing.recording.environment import cupti_version, driver_version
    from trace_timing.recording.runs.profiler import open_session

    return {
        "device": torch.cuda.get_device_properties(torch.cuda.current_device()).name,
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "driver": driver_version(),
        "cupti": cupti_version(),
        "backend": open_session("ranges")[1],
    }


def _versions(torch: Any) -> Finding:
    return Finding(level="good", subject="PyTorch", message=f"{torch.__version__}")


def _no_device() -> Finding:
    return Finding(
        level="note",
        subject="GPU",
        message="none that PyTorch can use: a capture here is timed by the host's clock",
        remedy="capture on the machine with the GPU",
    )


def _profiler() -> Iterator[Finding]:
    """Whether sessions can record ranges without CPU ops."""
    from trace_timing.recording.runs.profiler import available

    if available():
        yield Finding(level="good", subject="ranges mode", message="available in this PyTorch")
        return
    yield Finding(
        level="problem",
        subject="ranges mode",
        message="this PyTorch records CPU ops whether asked or not, at several times the cost",
        remedy="use PyTorch 2.4 or newer",
    )


def _device(environment: dict[str, Any]) -> Iterator[Finding]:
    """The GPU, whether repeated sessions record every kernel, and defects of its CUPTI version."""
    yield Finding(
        level="good",
        subject="GPU",
        message=f"{environment['device']}, driver {environment['driver'] or 'of unknown version'}",
    )
    kernels, recorded = _recorded_kernels()
    if recorded < kernels:
        yield Finding(
            level="problem",
            subject="CUPTI",
            message=f"a second session recorded {recorded} of {kernels} kernels",
            remedy="allow profiling (NVreg_RestrictProfilingToAdminUsers=0), or use CUDA 13.1",
        )
    else:
        yield Finding(level="good", subject="CUPTI", message=f"recorded all {kernels} kernels")
    version = environment["cupti"]
    if version is not None and _LOSES_KERNELS_FROM <= version < _LOSES_KERNELS_BEFORE:
        yield Finding(
            level="note",
            subject="CUPTI",
            message=f"version {version} may lose the first k kernels of session k "
            "(pytorch#192021: CUDA 12.6U2 to before 13.1)",
            remedy="captures count every launch against its kernel and repeat a short run",
        )


def _recorded_kernels(sessions: int = 3, kernels: int = 20) -> tuple[int, int]:
    """Numbers of launched and recorded kernels in the last of a few sessions."""
    import torch

    from trace_timing.recording.runs.profiler import open_session

    session, _ = open_session("ranges")
    one = torch.ones(8, device="cuda")
    torch.cuda.synchronize()
    recorded = 0
    for _ in range(sessions):
        session.start()
        for _ in range(kernels):
            one.neg_()
        torch.cuda.synchronize()
        session.stop()
        recorded = _count_kernels(session)
    return kernels, recorded


class _Event(msgspec.Struct):
    cat: str = ""


class _File(msgspec.Struct):
    traceEvents: list[_Event]


def _count_kernels(session: ProfilerSession) -> int:
    """Number of kernels in the trace that the session last recorded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.json"
        session.save(path)
        events = msgspec.json.decode(path.read_bytes(), type=_File).traceEvents
    return sum(event.cat == "kernel" for event in events)


def _standing_issues() -> Iterator[Finding]:
    yield Finding(
        level="note",
        subject="repeated sessions",
        message="memory grows by some 0.3 MiB a session (pytorch#193348), and calls may stay "
        "slower after profiling (pytorch#146604)",
        remedy="captures take controls before any profiling and compare; split long captures",
    )
