"""A process that never profiles and times runs on request, to compare labels with.

    python benchmarks/unprofiled.py random:llava-1b --tokens 12      # reads commands from stdin

`Unprofiled` starts it and asks. Each run is timed by CUDA events at the stage boundaries, as a
control of `capture` is; without a GPU by the host's clock. Before a `run` the machine is read as
before a control (launch probe, clocks, load), before a `plain` one it is not.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from molmoe import MolmoE, inputs_for
from PIL import Image

from trace_timing.records.encoding import decode, encode
from trace_timing.records.runs import ControlTimes

#: Model of this name → the preset behind it, and what else generate() is given.
COMPILED = "random:llava-1b+compiled"


class Unprofiled:
    """The other process: a model loaded, warm, and never profiled."""

    def __init__(self, model: str, tokens: int) -> None:
        command = [sys.executable, str(Path(__file__)), model, "--tokens", str(tokens)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        self.runs: list[ControlTimes] = []

    def wait(self) -> None:
        """Wait until the model is loaded and warm."""
        self._ask("ready")

    def run(self) -> ControlTimes:
        """Time one run and append it to `runs`."""
        self.runs.append(self._timed("run"))
        return self.runs[-1]

    def plain(self) -> ControlTimes:
        """Time one run with nothing before it."""
        return self._timed("plain")

    def _timed(self, command: str) -> ControlTimes:
        return decode(self._ask(command), ControlTimes, source="the unprofiled process")

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(60)

    def _ask(self, command: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(command + "\n")
        stdin.flush()
        if not (answer := stdout.readline()):
            raise RuntimeError(f"the unprofiled process ended with {self._process.wait()}")
        return answer


def built(name: str) -> tuple[Any, dict[str, Any]]:
    """A model and what its generate() is given, the number of tokens apart."""
    from trace_timing.recording.model.loading import ModelChoice, load
    from trace_timing.recording.samples import Sample, prepare

    if name == "molmoe":
        model = MolmoE.on("cuda")
        return model, dict(inputs_for(model))
    loaded = load(ModelChoice(name=name.split("+")[0]))
    image = Image.new("RGB", (336, 336), "gray")
    sample = Sample(id="one", images=(image,), prompt="what is this")
    inputs = dict(prepare(sample, loaded.processor, loaded.model).inputs)
    if name == COMPILED:
        inputs["cache_implementation"] = "static"
    return loaded.model, inputs


def serve(name: str, tokens: int) -> None:
    """Answer `ready`, `run` and `plain` until stdin ends."""
    from trace_timing.recording.hooks import attach as ranges
    from trace_timing.recording.model.locate import resolve

    model, inputs = built(name)
    given = {**inputs, "max_new_tokens": tokens}
    slot: list[Any] = [None]
    spare: list[Any] = []
    read_machine = reader(model)
    with ranges.attach(resolve(model), lambda: slot[0]):
        for _ in range(5):
            read_machine()
            timed(model, given, slot, spare)
        for line in sys.stdin:
            command = line.strip()
            if command == "run":
                read_machine()
            is_run = command in ("run", "plain")
            told = encode(timed(model, given, slot, spare)) if is_run else b"{}"
            print(told.decode(), flush=True)


def reader(model: Any) -> Callable[[], None]:
    """What `capture` reads of the machine before each run, with its launch probe."""
    from trace_timing.recording.profiling.launch_probe import probe_of
    from trace_timing.recording.profiling.machine_state import MachineWatch, host_load

    device = next(model.parameters()).device
    probe = probe_of(device) if device.type == "cuda" else None
    watch = MachineWatch()

    def read() -> None:
        if probe is not None:
            torch.cuda.synchronize(device)
            probe.quick_ns()
        watch.read()
        host_load()

    return read


def timed(model: Any, given: Mapping[str, Any], slot: list[Any], spare: list[Any]) -> ControlTimes:
    """Time one run as a control does."""
    from trace_timing.recording.runs.control_sink import ControlSink, HostMarks, StreamMarks

    device = next(model.parameters()).device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    marks = StreamMarks(device, spare) if device.type == "cuda" else HostMarks()
    slot[0] = sink = ControlSink(marks)
    model.generate(**given)
    slot[0] = None
    return sink.times()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=12)
    options = parser.parse_args()
    serve(options.model, options.tokens)
