"""`trace-timing capture`: put samples through a model and record every generate()."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trace_timing.errors import EXIT_GOOD, EXIT_REJECTED
from trace_timing.records import VISION_STAGES
from trace_timing.units import ms_from_ns

if TYPE_CHECKING:
    from trace_timing.api.sample_loop import Step
    from trace_timing.recording.health import Finding
    from trace_timing.records import ControlTimes, RunRecord

_SHOWN = ("vision", "prefill", "decode", "sampling")


@click.command("capture")
@click.option("--model", required=True, help="Hub id, folder, tiny-llava, or random:… (presets).")
@click.option("--inputs", required=True, help="samples.jsonl or hf:DATASET:SPLIT.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--profile", type=click.Choice(["ranges", "full"]), default="ranges")
@click.option(
    "--detail",
    type=click.Choice(["stages", "components"]),
    default="stages",
    help="components: ranges around the parts of every layer, too.",
)
@click.option("--control", default=1, type=click.IntRange(0), help="Controls a profiled run.")
@click.option("--cuda-cache", type=click.Choice(["keep", "empty"]), default="keep")
@click.option("--keep", default="both", help="json, store, both or first:N.")
@click.option("--max-new-tokens", default=32, type=click.IntRange(1))
@click.option("--dtype", default="auto")
@click.option("--device", default="auto")
@click.option("--device-map", default=None)
@click.option("--tensor-parallel", is_flag=True, help="tp_plan=auto: every rank on each sample.")
@click.option("--attn", default=None, help="Attention implementation: sdpa, eager, …")
@click.option("--limit", default=None, type=click.IntRange(1), help="Take so many samples.")
@click.option("--seed", default=0)
@click.option("--repeats", default=1, type=click.IntRange(1))
@click.option("--stages-of", default=None, type=click.Path(path_type=Path), help="model.toml.")
@click.option(
    "--rates",
    default=None,
    type=click.Path(path_type=Path, dir_okay=False),
    help="What `doctor --rates -o FILE` wrote: analysis tells the distance to the limit by it.",
)
@click.option("--warm-up/--no-warm-up", default=True)
@click.option("--trust-remote-code", is_flag=True)
@click.option("--resume", is_flag=True, help="Go on with a capture; retry what failed.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> int:
    """Record each generate() of a model's samples, profiled and as a control."""
    # Kineto reports every session on stderr otherwise; it reads this once, when torch loads.
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")
    return _run(options)


def _run(options: dict[str, Any]) -> int:
    from trace_timing.api.capturing import capture
    from trace_timing.api.sample_loop import SampleLoop, capture_samples
    from trace_timing.recording.inputs import read_samples, shard
    from trace_timing.recording.models import load
    from trace_timing.recording.shards import shard_of_process

    part = shard_of_process()
    samples = read_samples(options["inputs"], limit=options["limit"])
    loaded = load(_choice(options), local_rank=part.local_rank)
    if not options["tensor_parallel"]:
        samples = shard(samples, part.rank, part.world)
    loop = SampleLoop(
        max_new_tokens=options["max_new_tokens"], repeats=options["repeats"], seed=options["seed"]
    )
    tally = Tally()
    with (
        _stop_on_interrupt() as stop,
        capture(options["output"], loaded.model, _capture_options(options)) as session,
    ):
        steps = capture_samples(session, samples, loaded.model, loaded.processor, loop, stop=stop)
        for step in _drawn(steps, rank=part.rank):
            tally.add(step)
        findings = session.findings()
    code = _finish(tally, options["output"], findings, stopped=stop())
    # torchrun kills all ranks once one ends with an error, and the others still have work.
    return EXIT_GOOD if part.world > 1 else code


class Tally:
    """Counts of what was recorded, for the last line."""

    def __init__(self) -> None:
        self.done = self.skipped = self.total = 0
        self.failed: list[RunRecord] = []

    def add(self, step: Step) -> None:
        """Count a step."""
        self.total = step.total
        if not step.records:
            self.skipped += 1
        failed = [record for record in step.records if record.status == "failed"]
        self.failed += failed
        self.done += any(r.role == "profiled" and r.status == "ok" for r in step.records)


def _choice(options: dict[str, Any]) -> Any:
    from trace_timing.recording.models import ModelChoice

    return ModelChoice(
        name=options["model"],
        dtype=options["dtype"],
        device=options["device"],
        device_map=options["device_map"],
        attn=options["attn"],
        tensor_parallel=options["tensor_parallel"],
        trust_remote_code=options["trust_remote_code"],
        seed=options["seed"],
    )


def _capture_options(options: dict[str, Any]) -> Any:
    from trace_timing.api.capture_options import CaptureOptions

    names = (
        "profile",
        "detail",
        "control",
        "cuda_cache",
        "keep",
        "stages_of",
        "warm_up",
        "resume",
        "tensor_parallel",
        "rates",
    )
    repeated = ("max_new_tokens", "dtype", "device", "device_map", "attn", "seed", "repeats")
    # A folder's name, not its path: the manifest must not tell where this machine keeps things.
    model = Path(options["model"]).name if Path(options["model"]).is_dir() else options["model"]
    return CaptureOptions(
        **{name: options[name] for name in names},
        settings={"model": model, **{name: options[name] for name in repeated}},
    )


@contextmanager
def _stop_on_interrupt() -> Iterator[Any]:
    """Ctrl-C, or a scheduler's SIGTERM, lets the sample that is under way finish.

    A second Ctrl-C ends at once, but not within a second of the first: torchrun passes on what
    the terminal has sent already.
    """
    asked: float | None = None

    def ask(signum: int, frame: Any) -> None:
        nonlocal asked
        if asked is not None:
            if signum == signal.SIGINT and time.monotonic() - asked > 1:
                raise KeyboardInterrupt
            return
        asked = time.monotonic()
        click.echo("finishing this sample; once more to stop at once", err=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked is not None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _drawn(steps: Iterator[Step], *, rank: int) -> Iterator[Step]:
    """The steps, with a progress bar on a terminal; only the first rank draws."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    console = Console(stderr=True)
    with Progress(
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[rate]}"),
        # Gets the width that is left, and gives it up before the others.
        TextColumn(
            "{task.fields[last]}",
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
        console=console,
        expand=True,
        disable=not console.is_terminal or rank != 0,
    ) as progress:
        task = progress.add_task("capture", total=None, last="", rate="")
        begun, made = time.monotonic(), 0
        for step in steps:
            made += bool(step.records)  # those that were there already took no time
            progress.update(
                task,
                completed=step.done,
                total=step.total,
                rate=f"{60 * made / (time.monotonic() - begun):.1f}/min",
                last=_last(step),
            )
            yield step


def _last(step: Step) -> str:
    """The last sample: its stages by the control, and what profiling made of its total."""
    if not step.records:
        return "there already"
    for record in step.records:
        if record.status == "failed":
            return f"{record.sample_id}: {record.reason}"
    control = next((r.control for r in step.records if r.control and r.control.segments), None)
    profiled = next(r for r in step.records if r.role == "profiled")
    if control is None:
        return f"{profiled.sample_id}: {profiled.tokens_out} tokens"
    return f"{profiled.sample_id}: {_stages(control, profiled)}"


def _stages(control: ControlTimes, profiled: RunRecord) -> str:
    sums: dict[str, int] = {}
    for segment in control.segments:
        name = "vision" if segment.stage in VISION_STAGES else segment.stage
        sums[name] = sums.get(name, 0) + segment.duration_ns
    shown = [f"{name} {ms_from_ns(sums[name]):.1f}" for name in _SHOWN if name in sums]
    generate_ns = profiled.machine["session"]["generate_ns"]
    return f"profiled ×{generate_ns / control.total_ns:.2f}, " + " ".join(shown) + " ms"


def _finish(tally: Tally, output: Path, findings: list[Finding], *, stopped: bool) -> int:
    click.echo(f"{tally.done} runs recorded in {output}" + _rest(tally), err=True)
    for record in tally.failed:
        click.echo(f"  failed: {record.sample_id}: {record.reason}", err=True)
    for finding in findings:
        click.echo(f"  {finding.code}: {finding.evidence}; {finding.remedy}", err=True)
    if stopped:
        click.echo("  stopped: the same command with --resume goes on", err=True)
    return EXIT_REJECTED if tally.failed or stopped else EXIT_GOOD


def _rest(tally: Tally) -> str:
    return f", {tally.skipped} were there" if tally.skipped else ""
