"""`trace-timing compare A B`: which stage changed, by how much, how sure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from trace_timing.commands.help_page import Command
from trace_timing.commands.printing import say, say_json, show

if TYPE_CHECKING:
    from trace_timing.stats.comparison.compare import ComparisonResult
    from trace_timing.stats.comparison.figures import Basis
    from trace_timing.stats.comparison.gates import GateOutcome

Shape = Literal["text", "markdown", "json"]


GROUPS = {
    "What is compared": ("basis", "also_a", "also_b", "stages"),
    "When it matters": ("margin", "gates"),
    "What is written": ("output", "shape", "as_json"),
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
    "--stages",
    metavar="FILE|NAME",
    help="Other people's range names as stages, as `analyze` takes them; a report has its own.  "
    "[default: the names that capture writes]",
)
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
    help="A further capture of A: three a side detect a change of 10 % of a step. Repeatable.  "
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
@click.option(
    "--format",
    "shape",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
    help="What to print on stdout: `markdown` is a table for a pull request.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def command(
    a: str,
    b: str,
    stages: str | None,
    basis: Basis,
    also_a: tuple[str, ...],
    also_b: tuple[str, ...],
    margin: float,
    gates: tuple[str, ...],
    output: Path | None,
    shape: Shape,
    as_json: bool,
) -> int:
    """Compare B with the baseline A: report or capture directories, or traces.

    Servers' traces (--stages auto) are compared by their forwards. Exit code 0: every --fail-on
    bound holds, or the data cannot decide it. 1: one is broken. 2: wrong use. 3: nothing could be
    read. 4: none is broken, but the verdict on one had to be withheld.
    """
    from trace_timing.api.output.comparison import compare_paths
    from trace_timing.api.output.output_folder import explained
    from trace_timing.stats.comparison.gates import check_gate, exit_code, parse_gate

    bounds = [parse_gate(text) for text in gates]
    result = compare_paths(
        (a, *also_a), (b, *also_b), stages=stages, basis=basis, margin_frac=margin / 100
    )
    outcomes = [check_gate(bound, result) for bound in bounds]
    page = None
    if output is not None:
        with explained(output):
            page = _write_page(result, outcomes, output)
    _show(result, outcomes, page, "json" if as_json else shape)
    return exit_code(outcomes)


def _write_page(result: ComparisonResult, outcomes: list[GateOutcome], folder: Path) -> Path:
    from trace_timing.report.html.result_page import write_result
    from trace_timing.report.html.sections.comparison import comparison_section

    path = folder / "compare.html"
    section = comparison_section(result, outcomes)
    write_result([section], path, title="Comparison", subtitle=f"{result.b} against {result.a}")
    return path


def _show(
    result: ComparisonResult, outcomes: list[GateOutcome], page: Path | None, shape: Shape
) -> None:
    """Print the comparison in the chosen format."""
    match shape:
        case "json":
            from trace_timing.records.encoding import encode

            say_json(encode({"comparison": result, "gates": outcomes}))
        case "markdown":
            from trace_timing.report.markdown import comparison_markdown

            for line in comparison_markdown(result, outcomes).splitlines():
                say(line)
        case "text":
            _show_text(result, outcomes)
    if page is not None and shape != "json":
        say(f"wrote {page}", err=shape != "text" or not sys.stdout.isatty())


def _show_text(result: ComparisonResult, outcomes: list[GateOutcome]) -> None:
    from rich.console import Console

    from trace_timing.report.terminal.comparison import gate_line, render

    width = None if sys.stdout.isatty() else 150
    show(Console(width=width, soft_wrap=True, highlight=False), render(result))
    for outcome in outcomes:
        say(gate_line(outcome))
