"""`trace-timing analyze`: traces in, tables and a report out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trace_timing.commands.help_page import Command
from trace_timing.commands.printing import say, say_json, show

if TYPE_CHECKING:
    from trace_timing.api.analysis.result import Analysis
    from trace_timing.records.findings import Rejection
    from trace_timing.stats.audit.read_results import OlderResults

#: Most rejected inputs that are named without --verbose.
MOST_REJECTIONS = 5


GROUPS = {
    "What is read": ("stages", "older", "max_inflation"),
    "What is written": ("output", "no_report", "cdn", "by", "annotate"),
    "More figures": ("components", "hta"),
    "How it is done": ("jobs", "scheduler", "no_cache", "resume", "watch"),
    "What is printed": ("verbose", "as_json"),
}
EXAMPLES = (
    "traces/ -o report/",
    "trace.json.gz --stages auto           # vLLM, SGLang, TensorRT-LLM, transformers",
    "'s3://bucket/traces/*.json.gz' -o report/ --jobs 8",
)


@click.command("analyze", cls=Command, groups=GROUPS, examples=EXAMPLES)
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    default="report",
    metavar="DIR|URL",
    help="Folder for report.html, samples.csv, the tables and summary.json.",
)
@click.option(
    "--stages",
    metavar="FILE|NAME",
    help="Maps others' range names to stages: a stages.toml, or a built-in map: vllm, sglang, "
    "trtllm, transformers, or auto, which picks one of them for each trace.  [default: the names "
    "that capture writes]",
)
@click.option(
    "--older",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Older results of the same samples, as audit reads them: the report sets their figures "
    "beside ours.  [default: none]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes to use.  [default: all cores]",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Spread over a Dask cluster: its scheduler, as tcp://host:8786.  [default: none]",
)
@click.option("--resume", is_flag=True, help="Go on from what --no-cache left in OUTPUT/.parts.")
@click.option("--watch", is_flag=True, help="Go on analysing new traces until interrupted.")
@click.option("--no-cache", is_flag=True, help="Do not cache compact copies of traces and results.")
@click.option(
    "--by",
    metavar="COLUMNS",
    help="Summarise by these columns, comma-separated, into summaries.csv.  [default: none]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary on stdout, for programs.")
@click.option("--no-report", is_flag=True, help="Write the tables without report.html.")
@click.option(
    "--components",
    is_flag=True,
    help="Recognise attention, MLP, … by CPU ops in others' traces too.",
)
@click.option("--hta", is_flag=True, help="Also run HolisticTraceAnalysis, to compare its figures.")
@click.option(
    "--max-inflation",
    type=click.FloatRange(min=1),
    metavar="TIMES",
    help="Refuse a .gz that inflates to more than this many times its size.  [default: 100, and "
    "256 MB in any case]",
)
@click.option("--annotate", is_flag=True, help="Write traces with our stages beside their events.")
@click.option("--cdn", is_flag=True, help="Load plotly.js from its CDN: a small file, but online.")
@click.option("-v", "--verbose", is_flag=True, help="Print every finding, verdict and warning.")
@click.pass_context
def command(
    context: click.Context,
    paths: tuple[str, ...],
    output: str,
    stages: str | None,
    older: Path | None,
    jobs: int | None,
    scheduler: str | None,
    resume: bool,
    watch: bool,
    no_cache: bool,
    by: str | None,
    as_json: bool,
    no_report: bool,
    components: bool,
    hta: bool,
    max_inflation: float | None,
    annotate: bool,
    cdn: bool,
    verbose: bool,
) -> int:
    """Derive stage latencies from PATHS: traces, globs, directories, captures or URLs.

    Exit code 0: good. 1: done, but something was rejected, unattributed as a whole, failed a check
    of its integrity, or a check is broken. 2: wrong use. 3: nothing could be read.
    """
    from trace_timing.api.analysis.analyze import analyze
    from trace_timing.api.analysis.executor import available_cores
    from trace_timing.api.output.output_folder import seal
    from trace_timing.api.output.upload import delivered, exclusive
    from trace_timing.trace.files.cache import default_folder
    from trace_timing.trace.kineto.inflating import MOST_INFLATION

    spread: dict[str, Any] = {
        "jobs": jobs or available_cores(),
        "scheduler": scheduler,
        "cache": None if no_cache else default_folder(),
        "stages": stages,
    }
    write = partial(_write, report=not no_report, cdn=cdn, older=_older(older, no_report))
    if watch:
        with exclusive(output):
            return _watch(paths, output, spread, write)
    with exclusive(output), delivered(output) as to:
        folder = to.folder
        with _ProgressBar() as bar:
            analysis = analyze(
                *paths,
                progress=bar.advance,
                # For a URL the local files are deleted before the last lines are printed.
                tables=folder if to.place else None,
                parts=to.parts if no_cache or resume else None,
                resume=resume,
                components=components,
                hta=hta,
                max_inflation=max_inflation or MOST_INFLATION,
                debug=context.find_root().params["debug"],
                **spread,
            )
        write(analysis, folder)
        if by is not None:
            _write_summaries(analysis, by, folder / "summaries.csv")
        if annotate:
            from trace_timing.api.output.annotate import annotate as write_annotated

            warnings = analysis.report_data(pages=False).warnings
            written = write_annotated(paths, folder / "annotated", stages=stages, warnings=warnings)
            say(f"annotated {len(written)} of {len(analysis.traces)} traces", err=True)
        summary = seal(folder) if as_json else {}
    if to.place:
        analysis.tables.folder = to.place
    if as_json:
        _print_json(summary)
    else:
        _print_story(analysis, output, report=not no_report, verbose=verbose)
    return analysis.exit_code


def _older(file: Path | None, no_report: bool) -> OlderResults | None:
    """Older results, read before hours are spent on the traces."""
    if file is None:
        return None
    from trace_timing.errors import UsageError
    from trace_timing.stats.audit.read_results import read_older

    if no_report:
        raise UsageError("--older is for the report", remedy="leave out --no-report, or --older")
    return read_older(file)


def _write(
    analysis: Analysis, folder: Path, *, report: bool, cdn: bool, older: OlderResults | None
) -> None:
    from trace_timing.report.export import inert_frame, write_csv, write_summary

    analysis.tables.copy_to(folder)
    write_csv(analysis.tables["samples"], folder)
    if len(analysis.step_summary):
        inert_frame(analysis.step_summary).to_csv(folder / "step_summary.csv", index=False)
    write_summary(analysis.summary(), folder)
    if report:
        from trace_timing.report.html.page import write_report

        data = analysis.report_data()
        commands = _commands(data.summary.get("settings") or {})
        data = replace(data, summary={**data.summary, "commands": commands})
        if older is not None:
            from trace_timing.report.html.sections.older import with_older

            data = with_older(data, older)
        write_report(data, folder / "report.html", cdn=cdn)


def _commands(settings: Mapping[str, Any]) -> list[str]:
    """The commands behind this report: the capture's, as far as its settings give it, and this."""
    from trace_timing.report.reproducing import analyze_command, capture_command

    own = sys.argv[sys.argv.index("analyze") + 1 :] if "analyze" in sys.argv else []
    capture = capture_command(settings)
    return [*([capture] if capture else []), *([analyze_command(own)] if own else [])]


def _write_summaries(analysis: Analysis, by: str, path: Path) -> None:
    from trace_timing.report.export import inert_frame
    from trace_timing.stats.capture.summaries import summary_table

    columns = [name.strip() for name in by.split(",") if name.strip()]
    inert_frame(summary_table(analysis.samples, columns)).to_csv(path, index=False)


def _watch(
    paths: tuple[str, ...],
    output: str,
    spread: dict[str, Any],
    write: Callable[[Analysis, Path], None],
) -> int:
    """Rewrite the outputs whenever there are new traces, until interrupted."""
    from trace_timing.api.analysis.watch import watch
    from trace_timing.api.output.upload import delivered
    from trace_timing.errors import EXIT_NOTHING_READ

    code = EXIT_NOTHING_READ
    try:
        for analysis in watch(*paths, **spread):
            # A server or a shell may have the folder open.
            with delivered(output, in_place=True) as to:
                write(analysis, to.folder)
            code = analysis.exit_code
            runs, refused = len(analysis.run_summaries), len(analysis.rejections)
            say(f"{runs} runs, {refused} rejected: wrote {output}", err=True)
    except KeyboardInterrupt:
        say("stopped watching", err=True)
    return code


def _print_json(summary: dict[str, Any]) -> None:
    import msgspec

    say_json(msgspec.json.format(msgspec.json.encode(summary), indent=2))


def _print_story(analysis: Analysis, output: str, *, report: bool, verbose: bool) -> None:
    """Print tiles, tables and warnings, and where the files are."""
    from rich.console import Console

    from trace_timing.report.terminal.analysis import Story, render
    from trace_timing.report.terminal.serving import stage_map_lines, step_lines
    from trace_timing.report.terminal.statistics import statistics_lines

    console = Console()
    story = Story(
        data=analysis.report_data(pages=False),
        steps=[*stage_map_lines(analysis.traces), *step_lines(analysis.step_summary)],
        statistics=statistics_lines(analysis.statistics) if verbose else (),
    )
    show(console, render(story, width=console.width, verbose=verbose))
    place = output.rstrip("/")
    if report:
        say(f"report: {place}/report.html{'' if verbose else '  (in full here: -v)'}")
    say(f"samples: {place}/samples.csv")
    _say_rejections(analysis.rejections, verbose=verbose)


def _say_rejections(rejections: Sequence[Rejection], *, verbose: bool) -> None:
    shown = rejections if verbose else rejections[:MOST_REJECTIONS]
    for rejection in shown:
        say(f"rejected: {rejection.source}: {rejection.reason}", err=True)
        say(f"  do: {rejection.remedy}", err=True)
    if len(rejections) > len(shown):
        say(f"and {len(rejections) - len(shown)} more rejected: -v, or summary.json", err=True)


class _ProgressBar:
    """A progress bar on stderr for many traces, if stderr is a terminal."""

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
