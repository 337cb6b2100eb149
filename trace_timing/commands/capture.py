"""`trace-timing capture`: put samples through a model, time every generate() and record it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trace_timing.commands.printing import say
from trace_timing.errors import EXIT_GOOD, EXIT_REJECTED
from trace_timing.inert import printable
from trace_timing.records import VISION_STAGES
from trace_timing.units import ms_from_ns

if TYPE_CHECKING:
    from trace_timing.api.sample_loop import Step
    from trace_timing.recording.health import Finding
    from trace_timing.recording.plan import CallCount
    from trace_timing.records import ControlTimes, RunRecord

_SHOWN = ("vision", "prefill", "decode", "sampling")


def _step_count(ctx: click.Context, param: click.Parameter, value: Any) -> int | str:
    """The number as an int; `all` as it is."""
    if value == "all":
        return "all"
    return int(click.IntRange(1).convert(value, param, ctx))


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
@click.option(
    "--order",
    type=click.Choice(["controls-first", "interleaved"]),
    default="controls-first",
    show_default=True,
    help="All controls, then all recorded runs; or sample by sample, detaching the profiler.",
)
@click.option(
    "--control",
    default=None,
    type=click.IntRange(0),
    help="Controls of each sample. [default: 2, and 5 of every tenth]",
)
@click.option(
    "--record-every",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Record every so many samples only; the others have controls alone.",
)
@click.option(
    "--record-steps",
    default="32",
    show_default=True,
    metavar="N|all",
    callback=_step_count,
    help="Decode steps to record of each run, spread over it; or all.",
)
@click.option(
    "--precision",
    default=None,
    help="As 3%: more controls until the total is known that well, at 95%. [default: none]",
)
@click.option(
    "--most-controls",
    default=30,
    show_default=True,
    type=click.IntRange(1),
    help="With --precision: controls of a sample at most.",
)
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
    """Time each generate() of a model's samples without a profiler, and record it with one.

    \b
    What it costs, in generate() calls a sample:
      controls       2, of every tenth sample 5 and one without hooks
      recorded run   1, about 1.4 times as long, and storing its trace
      in all         3.4, and 2 to 5 runs of at most 16 new tokens for each new input shape,
                     and one more where a longer run was slow at its first cache lengths
    2,000 captions at 8 s a call take 15 hours; with --record-every 10 they take 11, with
    --control 1 as well 5. The number of calls is told before the start, the time after the first
    input's warm-up.
    """
    # Kineto reports every session on stderr otherwise; it reads this once, when torch loads.
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")
    return _run(options)


def _run(options: dict[str, Any]) -> int:
    from trace_timing.api.capturing import capture
    from trace_timing.api.sample_loop import SampleLoop, capture_samples, planned_calls
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
        count = planned_calls(session, samples, loop)
        if part.rank == 0:
            say(_announced(count), err=True)
        steps = capture_samples(session, samples, loaded.model, loaded.processor, loop, stop=stop)
        for step in _drawn(steps, rank=part.rank):
            tally.add(step)
            if step.call_ns is not None and part.rank == 0:
                say(_duration(count, step.call_ns), err=True)
        findings, whole = session.findings(), session.told_steps()
        attached = session.why_attached() if options["order"] == "interleaved" else None
    code = _finish(tally, options["output"], findings, attached, stopped=stop())
    for line in whole:
        say(f"  {line}", err=True)
    # torchrun kills all ranks once one ends with an error, and the others still have work.
    return EXIT_GOOD if part.world > 1 else code


class Tally:
    """Counts of what was made, for the last line."""

    def __init__(self) -> None:
        self.controls = self.recorded = 0
        self._there: set[str] = set()
        self._made: set[str] = set()
        #: First failure of each sample: its controls and its recorded run may fail alike.
        self.failed: dict[str, RunRecord] = {}

    def add(self, step: Step) -> None:
        """Count a step."""
        (self._there if step.kind == "there" else self._made).add(step.sample_id)
        for record in step.records:
            if record.status == "failed":
                self.failed.setdefault(record.sample_id, record)
            elif record.role == "control":
                self.controls += 1
            else:
                self.recorded += 1

    @property
    def were_there(self) -> int:
        """Samples of which nothing was to be made."""
        return len(self._there - self._made)


def _announced(count: CallCount) -> str:
    """What a capture costs, before it starts: `--help` says how that comes about."""
    if not count.calls:
        return "nothing is left to be made"
    calls = f"{count.calls:,}"
    if count.most_calls > count.calls:
        calls += f" to {count.most_calls:,}"
    return (
        f"{count.samples:,} samples: {calls} generate() calls ({count.controls:,} controls, "
        f"{count.recorded:,} recorded), {count.calls / count.samples:.1f} a sample, "
        "and the warm-up of each new input shape"
    )


def _duration(count: CallCount, call_ns: int) -> str:
    """About how long a capture takes, once the first input was warmed up."""
    calls = dict.fromkeys((count.calls, count.most_calls))
    told = " to ".join(_minutes(number * call_ns / 60e9) for number in calls)
    return (
        f"about {ms_from_ns(call_ns):,.0f} ms a call by the first input's warm-up: {told} in all, "
        "recorded runs take longer"
    )


def _minutes(minutes: float) -> str:
    return f"{minutes:,.0f} minutes" if minutes >= 2 else f"{60 * minutes:,.0f} seconds"


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
        "order",
        "control",
        "record_every",
        "record_steps",
        "precision",
        "most_controls",
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
        say("finishing this sample; once more to stop at once", err=True)

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
            markup=False,
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
        console=console,
        expand=True,
        disable=not console.is_terminal or rank != 0,
    ) as progress:
        task = progress.add_task("capture", total=None, last="", rate="")
        begun, made = time.monotonic(), 0
        for step in steps:
            made += step.kind not in ("there", "warm_up")  # what was there already took no time
            progress.update(
                task,
                completed=step.done,
                total=step.total,
                rate=f"{60 * made / (time.monotonic() - begun):.1f}/min",
                last=printable(_last(step)),
            )
            yield step


def _last(step: Step) -> str:
    """The last sample: its stages by its last control, of a recorded run its tokens."""
    if step.kind == "there":
        return "there already"
    for record in step.records:
        if record.status == "failed":
            return f"{record.sample_id}: {record.reason}"
    for record in reversed(step.records):
        if record.control is not None and record.control.segments:
            return f"{record.sample_id}: {_stages(record.control)}"
    if not step.records:
        return "warmed up"
    return f"{step.sample_id}: {step.records[-1].tokens_out} tokens"


def _stages(control: ControlTimes) -> str:
    sums: dict[str, int] = {}
    for segment in control.segments:
        name = "vision" if segment.stage in VISION_STAGES else segment.stage
        sums[name] = sums.get(name, 0) + segment.duration_ns
    shown = [f"{name} {ms_from_ns(sums[name]):.1f}" for name in _SHOWN if name in sums]
    return " ".join(shown) + " ms"


def _finish(
    tally: Tally, output: Path, findings: list[Finding], attached: str | None, *, stopped: bool
) -> int:
    say(
        f"{tally.controls} controls and {tally.recorded} recorded runs made in {output}"
        + _rest(tally),
        err=True,
    )
    for record in tally.failed.values():
        say(f"  failed: {record.sample_id}: {record.reason}", err=True)
    for finding in findings:
        say(f"  {finding.code}: {finding.evidence}; {finding.remedy}", err=True)
    if attached:
        say(
            f"  controls after the first session are no labels, the profiler stayed attached: "
            f"{attached}; use --order controls-first",
            err=True,
        )
    if stopped:
        say("  stopped: the same command with --resume goes on", err=True)
    return EXIT_REJECTED if tally.failed or stopped else EXIT_GOOD


def _rest(tally: Tally) -> str:
    return f", {tally.were_there} samples were there" if tally.were_there else ""
