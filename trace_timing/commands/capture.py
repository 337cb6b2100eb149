"""`trace-timing capture`: put samples through a model, time every generate() and record it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trace_timing.commands.capture_progress import Tally, announced, drawn, duration, finish
from trace_timing.commands.help_page import Command
from trace_timing.commands.printing import say
from trace_timing.errors import EXIT_GOOD

if TYPE_CHECKING:
    pass


def _step_count(ctx: click.Context, param: click.Parameter, value: Any) -> int | str:
    """The number as an int; `all` as it is."""
    if value == "all":
        return "all"
    return int(click.IntRange(1).convert(value, param, ctx))


GROUPS = {
    "What to run": ("model", "inputs", "limit", "max_new_tokens", "seed", "repeats"),
    "How the model is loaded": (
        *("dtype", "device", "device_map", "tensor_parallel", "attn", "trust_remote_code"),
        "stages_of",
    ),
    "Runs without the profiler": ("control", "precision", "most_controls", "order", "warm_up"),
    "What is recorded": ("record_every", "record_steps", "profile", "detail", "cuda_cache"),
    "What is written": ("output", "keep", "rates", "resume"),
}
EXAMPLES = (
    "--model llava-hf/llava-1.5-7b-hf --inputs samples.jsonl -o traces/",
    "--model tiny-llava --inputs samples.jsonl -o traces/       # no download, no GPU",
    "--model MODEL --inputs hf:DATASET:SPLIT --limit 200 --record-every 10 -o traces/",
)


@click.command("capture", cls=Command, groups=GROUPS, examples=EXAMPLES)
@click.option(
    "--model",
    required=True,
    metavar="MODEL",
    help="Hub id, folder, or a preset with random weights: tiny-llava, random:llava-1b, "
    "random:llava-8b, random:llava-olmoe.",
)
@click.option(
    "--inputs", required=True, metavar="SAMPLES", help="samples.jsonl or hf:DATASET:SPLIT."
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the capture: made if it is not there.",
)
@click.option(
    "--profile",
    type=click.Choice(["ranges", "full"]),
    default="ranges",
    help="ranges: GPU ops, launches and stages; full: every operator of the host, too, which "
    "slows the recorded run more.",
)
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
    help="All controls, then all recorded runs; or sample by sample, detaching the profiler.",
)
@click.option(
    "--control",
    default=None,
    metavar="N",
    type=click.IntRange(0),
    help="Controls of each sample.  [default: 2, and 5 of every tenth]",
)
@click.option(
    "--record-every",
    default=1,
    metavar="N",
    type=click.IntRange(1),
    help="Record every so many samples only; the others have controls alone.",
)
@click.option(
    "--record-steps",
    default="32",
    metavar="N|all",
    callback=_step_count,
    help="Decode steps to record of each run, spread over it; or all.",
)
@click.option(
    "--precision",
    default=None,
    metavar="PERCENT",
    help="E.g. 3%: make controls until the total is known that well, at 95%.  [default: none]",
)
@click.option(
    "--most-controls",
    default=30,
    metavar="N",
    type=click.IntRange(1),
    help="With --precision: controls of a sample at most.",
)
@click.option(
    "--cuda-cache",
    type=click.Choice(["keep", "empty"]),
    default="keep",
    help="empty: give the allocator's memory back before each run, as some experiments do.",
)
@click.option(
    "--keep",
    default="both",
    metavar="KIND",
    help="What stays of a trace: json (for viewers), store (compact), both, or first:N, which "
    "keeps the JSON of N samples.",
)
@click.option(
    "--max-new-tokens",
    default=32,
    metavar="N",
    type=click.IntRange(1),
    help="Tokens to generate where a sample does not say.",
)
@click.option(
    "--dtype",
    default="auto",
    metavar="TYPE",
    help="auto, bfloat16, float16 or float32; auto: the model's own.",
)
@click.option(
    "--device",
    default="auto",
    metavar="DEVICE",
    help="cpu, cuda, cuda:N or auto: a GPU where there is one.",
)
@click.option(
    "--device-map",
    default=None,
    metavar="MAP",
    help="Spread the model over devices, as transformers does: auto, balanced, …  [default: none]",
)
@click.option("--tensor-parallel", is_flag=True, help="tp_plan=auto: every rank on each sample.")
@click.option(
    "--attn",
    default=None,
    metavar="NAME",
    help="Attention implementation: sdpa, eager, …  [default: the model's]",
)
@click.option(
    "--limit",
    default=None,
    metavar="N",
    type=click.IntRange(1),
    help="Take the first N samples.  [default: all]",
)
@click.option(
    "--seed", default=0, metavar="N", help="Of random weights, and before each generate()."
)
@click.option(
    "--repeats",
    default=1,
    metavar="N",
    type=click.IntRange(1),
    help="Recorded runs of each sample.",
)
@click.option(
    "--stages-of",
    default=None,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A model.toml that names the model's encoder, projector and language model.  "
    "[default: found by the model's type]",
)
@click.option(
    "--rates",
    default=None,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Output of `doctor --rates -o FILE`, for the distance to the device's limit.  "
    "[default: none]",
)
@click.option(
    "--warm-up/--no-warm-up",
    default=True,
    help="Run each new input shape unmeasured first, until two runs agree.",
)
@click.option(
    "--trust-remote-code", is_flag=True, help="Run the code that a model on the hub brings along."
)
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
    --control 1 as well 5. The number of calls is printed before the start, the expected time after
    the first input's warm-up.
    """
    return _run(options)


def _run(options: dict[str, Any]) -> int:
    """Load model and samples, make all runs, and print progress and result."""
    from trace_timing.api.capture.requirements import require_packages

    require_packages()
    from trace_timing.api.capture.capture import capture
    from trace_timing.api.capture.sample_loop import SampleLoop, capture_samples, planned_calls
    from trace_timing.recording.model.loading import load
    from trace_timing.recording.runs.ranks import shard_of_process
    from trace_timing.recording.samples import read_samples, shard

    part = shard_of_process()
    _refuse_early(options, part.rank)
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
            say(announced(count), err=True)
        steps = capture_samples(session, samples, loaded.model, loaded.processor, loop, stop=stop)
        for step in drawn(steps, rank=part.rank):
            tally.add(step)
            if step.call_ns is not None and part.rank == 0:
                say(duration(count, step.call_ns), err=True)
        findings, notes = session.findings(), session.notes()
        attached = session.why_attached() if options["order"] == "interleaved" else None
    code = finish(tally, options["output"], findings, attached, stopped=stop())
    for line in notes:
        say(f"  {line}", err=True)
    # 0 under torchrun, which kills the other ranks, that still have work, if one fails.
    return EXIT_GOOD if part.world > 1 else code


def _refuse_early(options: dict[str, Any], rank: int) -> None:
    """Refuse wrong options and places before a model is loaded, which can take minutes."""
    from trace_timing.api.capture.precision import fraction
    from trace_timing.api.capture.retention import KeepPolicy
    from trace_timing.recording.storage.directory import check_place

    KeepPolicy.parse(options["keep"])
    fraction(options["precision"])
    check_place(options["output"], rank=rank, resume=options["resume"])


def _choice(options: dict[str, Any]) -> Any:
    from trace_timing.recording.model.loading import ModelChoice

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
    from trace_timing.api.capture.options import CaptureOptions

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
    # A folder's name and not its path, so that the manifest has no path of this machine.
    model = Path(options["model"]).name if Path(options["model"]).is_dir() else options["model"]
    return CaptureOptions(
        **{name: options[name] for name in names},
        settings={"model": model, **{name: options[name] for name in repeated}},
    )


@contextmanager
def _stop_on_interrupt() -> Iterator[Any]:
    """Stop after the current sample on Ctrl-C or a scheduler's SIGTERM.

    A second Ctrl-C stops at once, unless within a second of the first: torchrun repeats the signal
    that the terminal has sent already.
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
