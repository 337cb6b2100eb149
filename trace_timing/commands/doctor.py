"""`trace-timing doctor`: check this machine or a trace; measure the device's rates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trace_timing.commands.help_page import Command
from trace_timing.commands.printing import say, say_json
from trace_timing.errors import EXIT_GOOD, EXIT_REJECTED, UsageError

if TYPE_CHECKING:
    from trace_timing.api.analysis.examine import Examined
    from trace_timing.recording.doctor.checks import Diagnosis
    from trace_timing.records.manifest import HardwareRates

_MARKS = {"good": "ok", "note": "note", "problem": "PROBLEM"}


GROUPS = {
    "This machine": ("measure", "output"),
    "Traces": ("stages",),
    "What is printed": ("as_json",),
}
EXAMPLES = ("", "--rates -o rates.json", "traces/")


@click.command("doctor", cls=Command, groups=GROUPS, examples=EXAMPLES)
@click.argument("traces", nargs=-1)
@click.option(
    "--stages",
    metavar="FILE|NAME",
    help="Range names of TRACES, as for analyze.  [default: the names that capture writes]",
)
@click.option(
    "--rates", "measure", is_flag=True, help="Measure the GPU's rates: copies, matrix products."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on stdout.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Store the rates in this file, for capture --rates.  [default: none]",
)
def command(
    traces: tuple[str, ...], stages: str | None, measure: bool, as_json: bool, output: Path | None
) -> int:
    """Check this machine: profiler, versions, known defects; measure the device's rates.

    With TRACES (files, globs, directories, captures) check those instead: PASS, WARN (the figures
    are given, and this is named) or FAIL (no label), each with its evidence. Of several traces
    what passed is only counted. Exit code 1 where anything failed.
    """
    if traces:
        if measure or output:
            raise UsageError("--rates measures this machine", remedy="leave the traces out")
        return _examine(traces, stages, as_json=as_json)
    from trace_timing.api.output.output_folder import explained
    from trace_timing.atomic_write import write_whole
    from trace_timing.recording.doctor.checks import diagnose
    from trace_timing.records.encoding import encode

    diagnosis = diagnose()
    rates = _rates(diagnosis) if measure or output else None
    if output and rates:
        with explained(output):
            write_whole(output, encode(rates))
    if as_json:
        say_json(encode({"diagnosis": diagnosis, "rates": rates}))
    else:
        _show(diagnosis, rates)
    failed = diagnosis.has_problem or ((measure or output is not None) and rates is None)
    return EXIT_REJECTED if failed else EXIT_GOOD


def _examine(paths: tuple[str, ...], stages: str | None, *, as_json: bool) -> int:
    from trace_timing.api.analysis.examine import examine
    from trace_timing.records.encoding import encode

    examined = list(examine(*paths, stages=stages))
    if as_json:
        each: list[dict[str, Any]] = [
            {"trace": e.trace, "level": e.level, "checks": e.results} for e in examined
        ]
        say_json(encode(each))
    else:
        for one in examined:
            _show_trace(one, everything=len(examined) == 1)
    failed = any(one.level == "FAIL" for one in examined)
    return EXIT_REJECTED if failed else EXIT_GOOD


def _show_trace(examined: Examined, *, everything: bool) -> None:
    passed = sum(r.level == "PASS" for r in examined.results)
    say(f"{examined.level}  {examined.trace}: {passed} of {len(examined.results)} checks passed")
    for result in examined.results:
        if result.level == "PASS":
            if everything:
                say(f"  PASS  {result.code}: {result.evidence}")
            continue
        say(f"  {result.level}  {result.code}: {result.message} {result.evidence}")
        say(f"        do: {result.remedy}")


def _rates(diagnosis: Diagnosis) -> HardwareRates | None:
    if not diagnosis.environment.get("device"):
        say("no GPU here: no rates to measure", err=True)
        return None
    from trace_timing.recording.doctor.rates import measure_rates

    return measure_rates("cuda")


def _show(diagnosis: Diagnosis, rates: HardwareRates | None) -> None:
    for finding in diagnosis.findings:
        say(f"{_MARKS[finding.level]:>8}  {finding.subject}: {finding.message}")
        if finding.remedy:
            say(f"{'':>8}  do: {finding.remedy}")
    if rates is None:
        return
    say("")
    say(f"a copy within the device: {rates.copy_bytes_per_s / 1e9:,.0f} GB/s")
    say(
        f"a product of large {rates.matmul_dtype} matrices: "
        f"{rates.matmul_flops_per_s / 1e12:,.0f} TFLOP/s"
    )
