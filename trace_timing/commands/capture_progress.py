"""Messages of `capture`: its cost in advance, its progress, and its result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from trace_timing.commands.printing import say
from trace_timing.errors import EXIT_GOOD, EXIT_REJECTED
from trace_timing.stages import VISION_STAGES
from trace_timing.units import ms_from_ns
from trace_timing.untrusted_text import printable

if TYPE_CHECKING:
    from trace_timing.api.capture.sample_loop import Step
    from trace_timing.recording.profiling.session_health import Finding
    from trace_timing.recording.runs.plan import CallCount
    from trace_timing.records.runs import ControlTimes, RunRecord

_SHOWN = ("vision", "prefill", "decode", "sampling")


class Tally:
    """Counts of runs made and failed, for the last line."""

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
        """Number of samples for which nothing had to be made."""
        return len(self._there - self._made)


def announced(count: CallCount) -> str:
    """The number of calls of a capture, before it starts (`--help` has the rules)."""
    if not count.calls:
        return "nothing is left to be made"
    calls = f"{count.calls:,}"
    if count.most_calls > count.calls:
        calls += f" to {count.most_calls:,}"
    return (
        f"{_samples(count.samples)}: {calls} generate() calls ({count.controls:,} controls, "
        f"{count.recorded:,} recorded), {count.calls / count.samples:.1f} a sample, "
        "and the warm-up of each new input shape"
    )


def _samples(number: int) -> str:
    return f"{number:,} sample{'' if number == 1 else 's'}"


def duration(count: CallCount, call_ns: int) -> str:
    """About how long a capture takes, known after the first input's warm-up."""
    calls = dict.fromkeys((count.calls, count.most_calls))
    whole = " to ".join(_minutes(number * call_ns / 60e9) for number in calls)
    return (
        f"about {ms_from_ns(call_ns):,.0f} ms a call by the first input's warm-up: {whole} in all, "
        "recorded runs take longer"
    )


def _minutes(minutes: float) -> str:
    return f"{minutes:,.0f} minutes" if minutes >= 2 else f"{60 * minutes:,.0f} seconds"


def drawn(steps: Iterator[Step], *, rank: int) -> Iterator[Step]:
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
        # Gets the remaining width, and is the first to shrink.
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
    """The last sample: the stages of its last control, or the tokens of its recorded run."""
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


def finish(
    tally: Tally, output: Path, findings: list[Finding], attached: str | None, *, stopped: bool
) -> int:
    """Print what was made and what failed; returns the exit code."""
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
    there = tally.were_there
    return f", {_samples(there)} {'was' if there == 1 else 'were'} there" if there else ""
