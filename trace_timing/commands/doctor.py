"""`trace-timing doctor`: can this machine be trusted, and what does profiling cost on it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trace_timing.errors import EXIT_GOOD, EXIT_REJECTED

if TYPE_CHECKING:
    from trace_timing.costs import Calibration, Estimate
    from trace_timing.recording.diagnosis import Diagnosis

_MARKS = {"good": "ok", "note": "note", "problem": "PROBLEM"}


@click.command()
@click.option("--calibrate", is_flag=True, help="Measure what profiling costs here (≤ 60 s, GPU).")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on stdout.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Store the calibration in this file, for capture --calibration.",
)
def command(calibrate: bool, as_json: bool, output: Path | None) -> int:
    """Check the profiler, the versions and known defects; measure the profiler's cost."""
    from trace_timing.recording.diagnosis import diagnose
    from trace_timing.records import encode

    diagnosis = diagnose()
    costs = _calibration(diagnosis) if calibrate or output else None
    if output and costs:
        output.write_bytes(encode(costs))
    if as_json:
        sys.stdout.buffer.write(encode({"diagnosis": diagnosis, "calibration": costs}) + b"\n")
    else:
        _show(diagnosis, costs)
    failed = diagnosis.has_problem or ((calibrate or output is not None) and costs is None)
    return EXIT_REJECTED if failed else EXIT_GOOD


def _calibration(diagnosis: Diagnosis) -> Calibration | None:
    if not diagnosis.environment.get("device"):
        click.echo("no GPU here: nothing to calibrate", err=True)
        return None
    from trace_timing.recording.calibration import calibrate

    return calibrate()


def _show(diagnosis: Diagnosis, costs: Calibration | None) -> None:
    for finding in diagnosis.findings:
        click.echo(f"{_MARKS[finding.level]:>8}  {finding.subject}: {finding.message}")
        if finding.remedy:
            click.echo(f"{'':>8}  do: {finding.remedy}")
    if costs is None:
        return
    for mode, cost in costs.modes.items():
        click.echo(f"\nprofile {mode}, cost of each (95 %):")
        figures: list[tuple[str, Estimate | None]] = [
            *((f"{kind} call", estimate) for kind, estimate in cost.calls.items()),
            ("CPU op", cost.cpu_op),
            ("range", cost.range),
            ("wait for the device", cost.wait),
            ("op on the device", cost.device_op),
            ("graph node on the device", cost.graph_node),
        ]
        for name, estimate in figures:
            click.echo(f"{name:>26}  {'not measured' if estimate is None else estimate}")
        factor = cost.in_context or "not measured"
        click.echo(f"{'× in model code':>26}  {factor}")
    for reason in costs.missing:
        click.echo(f"not measured: {reason}")
    if costs.lasting_frac is not None:
        click.echo(f"\nunprofiled calls after profiling: {costs.lasting_frac:+.1%} against before")
    click.echo(f"took {costs.took_s} s")
