"""`trace-timing compare A B`: which stage changed, by how much, how sure."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from trace_timing.errors import EXIT_GOOD, EXIT_REJECTED

if TYPE_CHECKING:
    from trace_timing.stats.compared_figures import Basis, Tables
    from trace_timing.stats.comparison import ComparisonResult
    from trace_timing.stats.gates import GateOutcome


@click.command()
@click.argument("a")
@click.argument("b")
@click.option(
    "--figure",
    "basis",
    type=click.Choice(["window", "busy", "corrected"]),
    default="window",
    show_default=True,
    help="Which time of a stage to compare.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, min_open=True),
    default=3.0,
    show_default=True,
    metavar="PERCENT",
    help="A change below this does not matter to you.",
)
@click.option(
    "--fail-on",
    "gates",
    multiple=True,
    metavar="'decode > 5%'",
    help="Exit 1 where B is shown slower by more than this. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON on stdout.")
def command(
    a: str, b: str, basis: Basis, margin: float, gates: tuple[str, ...], as_json: bool
) -> int:
    """Compare B with the baseline A: report or capture directories, or traces.

    Exit code 1 when a --fail-on bound is broken, or its verdict had to be withheld.
    """
    from trace_timing.stats.comparison import compare
    from trace_timing.stats.gates import check_gate, parse_gate

    bounds = [parse_gate(text) for text in gates]
    result = compare(_tables(a), _tables(b), basis=basis, margin_frac=margin / 100)
    outcomes = [check_gate(bound, result) for bound in bounds]
    _show(result, outcomes, as_json=as_json)
    return EXIT_REJECTED if any(outcome.fails for outcome in outcomes) else EXIT_GOOD


def _tables(path: str) -> Tables:
    from trace_timing.api.loaded import load
    from trace_timing.stats.compared_figures import Tables

    loaded = load(path)
    return Tables(
        loaded.source,
        loaded.samples,
        loaded.kernels,
        loaded.environment,
        loaded.settings,
        loaded.noise,
    )


def _show(result: ComparisonResult, outcomes: list[GateOutcome], *, as_json: bool) -> None:
    if as_json:
        from trace_timing.records import encode

        told = {"comparison": result, "gates": outcomes}
        sys.stdout.buffer.write(encode(told) + b"\n")
        return
    from rich.console import Console

    from trace_timing.report.comparison_text import render

    width = None if sys.stdout.isatty() else 150
    Console(width=width, soft_wrap=True, highlight=False).print(render(result))
    for outcome in outcomes:
        said = "FAILS" if outcome.fails else "cannot tell" if outcome.unsure else "holds"
        gate = outcome.gate
        click.echo(f"{said}: {gate.name} > {gate.limit_frac:.2%} (ratio {outcome.row.ratio:.3f})")
