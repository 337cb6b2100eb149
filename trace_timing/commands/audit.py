"""`trace-timing audit`: what wall-clock subtraction did to existing labels."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trace_timing.commands.help_page import Command
from trace_timing.commands.printing import say_json, show
from trace_timing.errors import EXIT_GOOD, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from trace_timing.stats.audit.audit import AuditResult
    from trace_timing.stats.audit.read_results import OlderResults
    from trace_timing.stats.audit.row_validity import Judged

PAGE = "audit.html"


GROUPS = {
    "What is read": ("pairs", "against"),
    "What is counted and written": ("by", "output", "estimate"),
    "What is printed": ("as_json",),
}
EXAMPLES = (
    "old_results.json",
    "old_results.json --by output_tokens -o audited/",
    "old_results.json --against traces/",
)


@click.command("audit", cls=Command, groups=GROUPS, examples=EXAMPLES)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--by",
    metavar="COLUMNS",
    help="Count by these columns too, comma-separated.  [default: none]",
)
@click.option(
    "--map",
    "pairs",
    multiple=True,
    metavar="KNOWN=COLUMN",
    help="The file's own name of a column, e.g. --map T_total=total_ms. Repeatable.  [default: "
    "T_total, T_vision_total, T_LLM_prefill, T_LLM_decode, output_tokens …]",
)
@click.option(
    "--against",
    metavar="TRACES",
    help="Compare row by row with a capture of the same samples, or its report.  [default: none]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write audit.html and a cleaned copy of each file into this directory.  [default: none]",
)
@click.option("--estimate", is_flag=True, help="With -o: add T_LLM_decode_estimated, flagged.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON on stdout.")
def command(
    files: tuple[Path, ...],
    by: str | None,
    pairs: tuple[str, ...],
    against: str | None,
    output: Path | None,
    estimate: bool,
    as_json: bool,
) -> int:
    """Audit result files whose decode is total − vision − prefill, clamped at zero.

    Exit code 0 when every file was audited, whatever its rows are worth.
    """
    from trace_timing.api.output.output_folder import whole
    from trace_timing.stats.audit.audit import audit
    from trace_timing.stats.audit.read_results import read_older
    from trace_timing.stats.audit.row_validity import judge

    if estimate and output is None:
        raise UsageError("--estimate writes a column", remedy="say where to: -o DIRECTORY")
    names, columns = _names(pairs), [name.strip() for name in (by or "").split(",") if name.strip()]
    targets = _targets(files, output)
    captured = _captured(against)
    results = []
    with nullcontext() if output is None else whole(output) as folder:
        for file in files:
            older = read_older(file, names)
            judged = judge(older)
            held = None
            if captured is not None and against is not None:
                from trace_timing.stats.audit.against_capture import hold_against

                held = hold_against(older, judged, captured, source=Path(against).name)
            results.append(audit(older, by=columns, against=held))
            if folder is not None:
                _write(older, judged, folder / targets[file].name, estimate=estimate)
        if folder is not None:
            _write_page(results, folder / PAGE, captured)
    _show(results, targets, None if output is None else output / PAGE, as_json=as_json)
    return EXIT_GOOD


def _names(pairs: tuple[str, ...]) -> dict[str, str]:
    names = {}
    for pair in pairs:
        known, separator, own = pair.partition("=")
        if not (known and separator and own):
            raise UsageError(f"--map {pair} is no pair", remedy="write --map T_total=total_ms")
        names[known] = own
    return names


def _targets(files: tuple[Path, ...], output: Path | None) -> dict[Path, Path]:
    """The cleaned copy's path for each file."""
    if output is None:
        return {}
    targets = {file: output / f"{file.stem}.cleaned{file.suffix}" for file in files}
    if len(set(targets.values())) < len(targets):
        raise UsageError(
            "two files would be cleaned into one",
            why="they share a name",
            remedy="audit them one by one with different -o",
        )
    return targets


def _captured(against: str | None) -> pd.DataFrame | None:
    if against is None:
        return None
    from trace_timing.api.output.load import load

    return load(against).samples


def _write(older: OlderResults, judged: Judged, target: Path, *, estimate: bool) -> None:
    """Write the cleaned copy in the file's own format."""
    import pandas as pd

    from trace_timing.report.export import inert_frame
    from trace_timing.stats.audit.annotated_copy import cleaned_rows
    from trace_timing.stats.audit.read_results import ROWS

    rows = cleaned_rows(older, judged, estimate=estimate)
    match target.suffix:
        case ".csv":
            listed = [row | {"invalid_reasons": " ".join(row["invalid_reasons"])} for row in rows]
            inert_frame(pd.DataFrame(listed)).to_csv(target, index=False)
        case ".parquet":
            pd.DataFrame(rows).to_parquet(target, index=False)
        case ".jsonl":
            target.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        case _:
            target.write_text(json.dumps({**older.header, ROWS: rows}, indent=1) + "\n", "utf-8")


def _write_page(results: list[AuditResult], path: Path, captured: pd.DataFrame | None) -> None:
    from trace_timing.report.html.result_page import write_result
    from trace_timing.report.html.sections.audit import audit_sections

    files = results[0].source if len(results) == 1 else f"{len(results)} files"
    sections = audit_sections(results, captured)
    write_result(sections, path, title="Audit of older results", subtitle=files)


def _show(
    results: list[AuditResult], targets: dict[Path, Path], page: Path | None, *, as_json: bool
) -> None:
    if as_json:
        from trace_timing.records.encoding import encode

        say_json(encode(results))
        return
    from rich.console import Console

    from trace_timing.report.terminal.audit import render

    console = Console(width=None if sys.stdout.isatty() else 120, soft_wrap=True, highlight=False)
    for result in results:
        show(console, render(result), "")
    for source, target in targets.items():
        show(console, f"cleaned copy of {source.name}: {target}")
    if page is not None:
        show(console, f"report: {page}")
