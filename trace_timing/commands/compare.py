"""`trace-timing compare A B`: which stage changed, by how much, how sure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trace_timing.commands.help_page import Command
from trace_timing.commands.printing import say, say_json, show
from trace_timing.errors import EXIT_GOOD, EXIT_REJECTED

if TYPE_CHECKING:
    from trace_timing.stats.comparison.compare import ComparisonResult
    from trace_timing.stats.comparison.figures import Basis, Tables
    from trace_timing.stats.comparison.gates import GateOutcome


GROUPS = {
    "What is compared": ("basis", "also_a", "also_b"),
    "When it matters": ("margin", "gates"),
    "What is written": ("output", "as_json"),
}
EXAMPLES = (
    "before/ after/",
    "before/ after/ --also-a before2/ --also-b after2/ -o comparison/",
    "main/ branch/ --fail-on 'decode > 5%'",
)


@click.command("compare", cls=Command, groups=GROUPS, examples=EXAMPLES)
@click.argument("a")
@click.argument("b")
@click.option(
    "--figure",
    "basis",
    type=click.Choice(["latency", "busy", "recorded"]),
    default="latency",
    show_default=True,
    help="Which time of a stage to compare; latencies have busy times beside them.",
)
@click.option(
    "--also-a",
    multiple=True,
    metavar="DIR",
    help="A further capture of A: three a side tell a change of 10 % of a step. Repeatable.  "
    "[default: none]",
)
@click.option(
    "--also-b",
    multiple=True,
    metavar="DIR",
    help="A further capture of B. Repeatable.  [default: none]",
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
    help="Exit 1 where B is shown slower by more than this. Repeatable.  [default: no bound]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write compare.html, one offline page, into this directory.  [default: none]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON on stdout.")
def command(
    a: str,
    b: str,
    basis: Basis,
    also_a: tuple[str, ...],
    also_b: tuple[str, ...],
    margin: float,
    gates: tuple[str, ...],
    output: Path | None,
    as_json: bool,
) -> int:
    """Compare B with the baseline A: report or capture directories, or traces.

    Exit code 1 when a --fail-on bound is broken, or its verdict had to be withheld.
    """
    from trace_timing.api.output.output_folder import told
    from trace_timing.stats.comparison.compare import compare
    from trace_timing.stats.comparison.gates import check_gate, parse_gate

    bounds = [parse_gate(text) for text in gates]
    result = compare(
        _tables(a),
        _tables(b),
        also_a=[_tables(path) for path in also_a],
        also_b=[_tables(path) for path in also_b],
        basis=basis,
        margin_frac=margin / 100,
    )
    outcomes = [check_gate(bound, result) for bound in bounds]
    page = None
    if output is not None:
        with told(output):
            page = _write_page(result, outcomes, output)
    _show(result, outcomes, page, as_json=as_json)
    return EXIT_REJECTED if any(outcome.fails for outcome in outcomes) else EXIT_GOOD


def _tables(path: str) -> Tables:
    from trace_timing.api.output.load import load
    from trace_timing.stats.comparison.figures import Tables

    loaded = load(path)
    return Tables(
        loaded.source,
        loaded.samples,
        loaded.kernels,
        loaded.environment,
        loaded.settings,
        loaded.state,
    )


def _write_page(result: ComparisonResult, outcomes: list[GateOutcome], folder: Path) -> Path:
    from trace_timing.report.html.result_page import write_result
    from trace_timing.report.html.sections.comparison import comparison_section

    path = folder / "compare.html"
    section = comparison_section(result, outcomes)
    write_result([section], path, title="Comparison", subtitle=f"{result.b} against {result.a}")
    return path


def _show(
    result: ComparisonResult, outcomes: list[GateOutcome], page: Path | None, *, as_json: bool
) -> None:
    if as_json:
        from trace_timing.records.encoding import encode

        told = {"comparison": result, "gates": outcomes}
        say_json(encode(told))
        return
    from rich.console import Console

    from trace_timing.report.terminal.comparison import gate_line, render

    width = None if sys.stdout.isatty() else 150
    show(Console(width=width, soft_wrap=True, highlight=False), render(result))
    for outcome in outcomes:
        say(gate_line(outcome))
    if page is not None:
        say(f"wrote {page}", err=not sys.stdout.isatty())
