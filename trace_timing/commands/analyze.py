"""`trace-timing analyze`: traces in, tables and a report out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from trace_timing.api.analysis import Analysis


@click.command(short_help="Derive stage latencies from traces.")
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder for report.html, tables and summary.json.",
)
@click.option(
    "--stages",
    type=click.Path(dir_okay=False, path_type=Path),
    help="stages.toml: patterns that map other people's range names to stages.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary on stdout, for programs.")
@click.option("--no-report", is_flag=True, help="Write the tables without report.html.")
@click.option("--cdn", is_flag=True, help="Load plotly.js from its CDN: a small file, but online.")
def command(
    paths: tuple[str, ...],
    output: Path,
    stages: Path | None,
    as_json: bool,
    no_report: bool,
    cdn: bool,
) -> int:
    """Derive stage latencies from PATHS: traces, globs, directories, captures or URLs.

    Exit code 0: good. 1: done, but something was rejected, unattributed as a whole, or a law is
    broken. 2: wrong use. 3: nothing could be read.
    """
    from trace_timing.api.analysis import analyze
    from trace_timing.report.export import write_summary, write_tables

    with _ProgressBar() as bar:
        analysis = analyze(*paths, stages=stages, progress=bar.advance)
    summary = analysis.summary()
    write_tables(analysis.tables, output)
    write_summary(summary, output)
    if not no_report:
        from trace_timing.report.page import write_report

        write_report(analysis.report_data(), output / "report.html", cdn=cdn)
    if as_json:
        _print_json(summary)
    else:
        _print_story(analysis, output)
    return analysis.exit_code


def _print_json(summary: dict[str, Any]) -> None:
    import msgspec

    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")


def _print_story(analysis: Analysis, output: Path) -> None:
    from rich.console import Console

    from trace_timing.report.text import render

    console = Console()
    console.print(render(analysis.report_data(), width=console.width))
    for rejection in analysis.rejections:
        click.echo(f"rejected: {rejection.source}: {rejection.reason}", err=True)
        click.echo(f"  do: {rejection.remedy}", err=True)
    click.echo(f"wrote {output}", err=not sys.stdout.isatty())


class _ProgressBar:
    """A bar on stderr for many traces; nothing where nobody watches."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> _ProgressBar:
        return self

    def advance(self, outcome: object, done: int, total: int) -> None:
        """Move on by one trace."""
        if total < 2 or not sys.stderr.isatty():
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("traces", total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
