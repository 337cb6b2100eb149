"""`trace-timing doctor`: can this machine be trusted, and what does its device reach."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trace_timing.errors import EXIT_GOOD, EXIT_REJECTED

if TYPE_CHECKING:
    from trace_timing.recording.diagnosis import Diagnosis
    from trace_timing.records import HardwareRates

_MARKS = {"good": "ok", "note": "note", "problem": "PROBLEM"}


@click.command()
@click.option("--rates", "measure", is_flag=True, help="Measure what the device reaches (GPU).")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on stdout.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Store the rates in this file, for capture --rates.",
)
def command(measure: bool, as_json: bool, output: Path | None) -> int:
    """Check the profiler, the versions and known defects; measure the device's rates."""
    from trace_timing.api.output_folder import told
    from trace_timing.atomic import write_whole
    from trace_timing.recording.diagnosis import diagnose
    from trace_timing.records import encode

    diagnosis = diagnose()
    rates = _rates(diagnosis) if measure or output else None
    if output and rates:
        with told(output):
            write_whole(output, encode(rates))
    if as_json:
        sys.stdout.buffer.write(encode({"diagnosis": diagnosis, "rates": rates}) + b"\n")
    else:
        _show(diagnosis, rates)
    failed = diagnosis.has_problem or ((measure or output is not None) and rates is None)
    return EXIT_REJECTED if failed else EXIT_GOOD


def _rates(diagnosis: Diagnosis) -> HardwareRates | None:
    if not diagnosis.environment.get("device"):
        click.echo("no GPU here: no rates to measure", err=True)
        return None
    import torch

    from trace_timing.recording.rates import measure_rates

    return measure_rates(torch.device("cuda", torch.cuda.current_device()))


def _show(diagnosis: Diagnosis, rates: HardwareRates | None) -> None:
    for finding in diagnosis.findings:
        click.echo(f"{_MARKS[finding.level]:>8}  {finding.subject}: {finding.message}")
        if finding.remedy:
            click.echo(f"{'':>8}  do: {finding.remedy}")
    if rates is None:
        return
    click.echo(f"\na copy within the device: {rates.copy_bytes_per_s / 1e9:,.0f} GB/s")
    click.echo(
        f"a product of large {rates.matmul_dtype} matrices: "
        f"{rates.matmul_flops_per_s / 1e12:,.0f} TFLOP/s"
    )
