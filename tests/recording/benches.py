"""A runner on a fake profiler, and a fake CUPTI with launch costs that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trace_timing.recording.profiling.detach import NO_GPU, CuptiAttachment
from trace_timing.recording.profiling.launch_probe import LaunchCosts
from trace_timing.recording.runs.calls import Call, RunSettings, SinkSlot
from trace_timing.recording.runs.runner import Controls, Runner
from trace_timing.recording.storage.directory import open_directory, read_records
from trace_timing.records.runs import RunRecord

LAUNCHES = 20


class Model(torch.nn.Module):
    """Answers with tokens from the random state, so that equal states give equal tokens."""

    config = None

    def generate(self) -> torch.Tensor:
        return torch.randint(1, 1000, (1, 5))


class FakeSession:
    """Writes a trace of LAUNCHES kernels and so many decode steps, and loses the first
    `loses(session number)` of all kernels."""

    def __init__(
        self, loses: Any = lambda number: 0, graph_calls: Sequence[str] = (), steps: int = 0
    ) -> None:
        self.loses = loses
        self.graph_calls = graph_calls
        self.steps = steps
        self.number = -1
        self.pads = 0

    def start(self) -> None:
        self.number += 1
        self.pads = 0

    def stop(self) -> None:
        pass

    def save(self, path: Path) -> None:
        lost = max(self.loses(self.number) - self.pads, 0)
        whole = {"cat": "user_annotation", "name": "generate", "ts": 0, "dur": 99, "args": {}}
        events: list[dict[str, Any]] = [{"ph": "X", **whole}]
        for i in range(LAUNCHES):
            args = {"correlation": i}
            launch = {"cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": i, "dur": 1}
            events.append({"ph": "X", **launch, "args": args})
            if i >= lost:
                kernel = {"cat": "kernel", "name": "k", "ts": i + 5, "dur": 1}
                events.append({"ph": "X", **kernel, "args": args})
        for step in range(1, self.steps + 1):
            named = {"cat": "user_annotation", "name": f"decode[{step}]", "ts": step, "dur": 1}
            events.append({"ph": "X", **named, "args": {}})
        for name in self.graph_calls:
            call = {"cat": "cuda_runtime", "name": name, "ts": 50, "dur": 1, "args": {}}
            events.append({"ph": "X", **call})
        path.write_text(json.dumps({"traceEvents": events}))


#: Cost of an op of a CPU tensor, ns.
ON_HOST_NS = 400.0


@dataclass
class FakeCupti:
    """Launches cost `base` ns, and `dearer` times as much while a session or its rest is on."""

    base: float = 4000.0
    dearer: float = 1.4
    #: What `finalize` returns, and whether it does anything.
    code: int = 0
    works: bool = True
    is_on: bool = False
    #: What the machine's other work multiplies every cost with.
    slower: float = 1.0
    #: How many of the next measurements find CPU ops slowed as much as CUPTI slows launches.
    disturbed: int = 0
    finalized: int = 0
    #: Blocks of each measurement.
    measured: list[int] = field(default_factory=list)
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def finalize(self) -> int:
        self.finalized += 1
        if self.works and self.code == 0:
            self.is_on = False
        return self.code

    def quick_ns(self) -> float:
        return float(self.blocks(number=5).launch.min())

    def blocks(
        self, until: Callable[[LaunchCosts], bool] = lambda costs: True, *, number: int = 90
    ) -> LaunchCosts:
        launch, on_host = np.empty(0), np.empty(0)
        for _ in range(12):
            cost = self.base * (self.dearer if self.is_on else 1.0) * self.slower
            launch = np.append(launch, cost * (1 + 0.02 * self.chance.random(number)))
            disturbed = self.dearer if self.disturbed > 0 else 1.0
            on_host = np.append(on_host, np.full(number, ON_HOST_NS * self.slower * disturbed))
            self.disturbed -= 1
            if until(found := LaunchCosts(launch, on_host)):
                break
        self.measured.append(len(found))
        return found


class CuptiSession(FakeSession):
    """A session that puts CUPTI on, as Kineto's do."""

    def __init__(self, cupti: FakeCupti, **more: Any) -> None:
        super().__init__(**more)
        self.cupti = cupti

    def start(self) -> None:
        super().start()
        self.cupti.is_on = True


def attachment_of(cupti: FakeCupti) -> CuptiAttachment:
    return CuptiAttachment(cupti, finalize=cupti.finalize)  # type: ignore[arg-type]


@dataclass
class Bench:
    """A runner on a fake session, and what it was seen to do."""

    runner: Runner
    session: FakeSession
    folder: Path
    unhooked: list[int] = field(default_factory=list)

    def call(self, name: str, run: Callable[[], Any] | None = None, **more: Any) -> Call:
        return Call(sample_id=name, repeat=0, run=run or Model().generate, **more)

    def controls(self, name: str, number: int = 1, run: Any = None, **more: Any) -> Any:
        how = {key: more.pop(key) for key in ("bare", "enough", "most") if key in more}
        return self.runner.controls(self.call(name, run, **more), Controls(planned=number, **how))

    def recorded(self, name: str, run: Any = None, **more: Any) -> Any:
        return self.runner.recorded(self.call(name, run, **more))

    def records(self) -> list[RunRecord]:
        return read_records(self.folder / "runs.rank0.jsonl")


def bench_in(
    folder: Path,
    session: FakeSession | None = None,
    *,
    attachment: CuptiAttachment | None = None,
    warm_up: bool = False,
    **more: Any,
) -> Bench:
    """A bench whose runner warms nothing up, but where asked to."""
    session = session or FakeSession()
    unhooked: list[int] = []

    def off() -> Any:
        unhooked.append(1)
        return nullcontext()

    runner = Runner(
        model=Model(),
        slot=SinkSlot(),
        session=session,
        directory=open_directory(folder),
        settings=RunSettings(warm_up=warm_up),
        unhooked=off,
        on_trace=lambda name: ("json.gz",),
        attachment=attachment or CuptiAttachment(None, why_not=NO_GPU),
        **more,
    )
    return Bench(runner, session, folder, unhooked)
