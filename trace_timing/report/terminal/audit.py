"""The audit of older results for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trace_timing.stats.audit.against_capture import LIKE_WITH_LIKE, Against, AgainstRow, Basis
from trace_timing.stats.audit.audit import AuditGroup, AuditResult
from trace_timing.stats.audit.row_validity import REASONS
from trace_timing.stats.audit.step_count import Fencepost
from trace_timing.stats.methods.intervals import Interval

#: Most negative rows that are shown, with their arithmetic; --json has all.
SHOWN = 3
_BASES: dict[Basis, str] = {
    "control": "runs without the profiler",
    "scaled": "recorded runs, scaled by other samples' controls",
    "attached": "runs with the profiler attached: too long, on an H200 by a fifth",
    "recorded": "recorded runs, since the capture has no controls: too long by what recording cost",
}
#: Most samples whose differences from a capture are shown; --json and the page have all.
SHOWN_AGAINST = 12


def render(result: AuditResult) -> RenderableType:
    """Verdict, reasons, counts by group, fencepost and findings, to be printed with rich."""
    return Group(*_parts(result))


def counts_sentence(result: AuditResult) -> str:
    """The number of valid rows of the file."""
    return f"{result.source}: {result.valid} of {result.rows} rows valid ({result.valid_frac:.2%})"


def _parts(result: AuditResult) -> Iterator[RenderableType]:
    yield Text(counts_sentence(result), style="bold")
    for name, count in result.reasons.items():
        if count:
            yield Text(f"  {count:>6}  {name}: {REASONS[name]}")
    yield from _negatives(result)
    yield Text("")
    yield _groups((result.overall, *result.groups))
    if result.fencepost is not None:
        yield from _fencepost(result.fencepost)
    for warning in result.findings:
        yield Text(f"\n{warning.code}: {warning.message}", style="bold")
        yield Text(f"  why: {warning.evidence}\n  do:  {warning.remedy}")
    if result.against is not None:
        yield from _against(result.against)


def _negatives(result: AuditResult) -> Iterator[RenderableType]:
    for row in result.negatives[:SHOWN]:
        yield Text(
            f"  sample {row.sample_id} ({row.output_tokens} tokens): {row.total_ms:.2f} − "
            f"{row.vision_ms:.2f} − {row.prefill_ms:.2f} = {row.difference_ms:.2f} ms, "
            f"recorded as {row.recorded_ms:.2f}"
        )
    if len(result.negatives) > SHOWN:
        yield Text(f"  … and {len(result.negatives) - SHOWN} more such rows")


def _groups(groups: tuple[AuditGroup, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("rows of", no_wrap=True)
    for name in ("rows", "valid", "1 token", "zero", "negative", "share", "mean ms", "range ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in groups:
        low, high = group.negative_min_ms, group.negative_max_ms
        table.add_row(
            group.value if group.column is None else f"{group.column} = {group.value}",
            *map(str, (group.rows, group.valid, group.one_token, group.zero_decode)),
            str(group.negative),
            f"{group.negative_frac:.2%}",
            "" if group.negative_mean_ms is None else f"{group.negative_mean_ms:.2f}",
            "" if low is None or high is None else f"{low:.2f} … {high:.2f}",
        )
    return table


def fencepost_sentences(fencepost: Fencepost) -> list[str]:
    """The line of decode over steps, how each rate depends on length, and the verdict."""
    line, sentences = fencepost.line, []
    if line is not None and fencepost.zero_at_tokens is not None:
        sentences.append(
            f"decode = {line.intercept:.2f} ms + {line.slope:.2f}{_within(line.slope_interval)} "
            f"ms a step; it reaches 0 at {fencepost.zero_at_tokens:.2f} tokens ({line.points} rows)"
        )
    sentences.append(
        f"rate against length (Kendall τ): per token {fencepost.tau_per_token:+.2f} "
        f"(p {fencepost.p_per_token:.2g}), per step {fencepost.tau_per_step:+.2f} "
        f"(p {fencepost.p_per_step:.2g})"
    )
    return [*sentences, fencepost.verdict]


def _fencepost(fencepost: Fencepost) -> Iterator[RenderableType]:
    yield Text("\nN output tokens take N − 1 decode steps", style="bold")
    for sentence in fencepost_sentences(fencepost):
        yield Text(f"  {sentence}")
    table = Table(box=None, pad_edge=False)
    for name in ("output tokens", "rows", "ms per token", "ms per step"):
        table.add_column(name, justify="right")
    for rate in fencepost.by_length:
        figures = (f"{rate.per_token_ms:.2f}", f"{rate.per_step_ms:.2f}")
        table.add_row(str(rate.output_tokens), str(rate.rows), *figures)
    yield table


def against_sentences(against: Against) -> list[str]:
    """Which rows were compared with which captured times."""
    return [
        f"against {against.source}: {against.matched} samples in both, "
        f"{against.unmatched} rows without a partner",
        f"held against {_BASES[against.basis]}; decode against decode + sampling + rest: what the "
        "difference contains",
    ]


def _against(against: Against) -> Iterator[RenderableType]:
    first, second = against_sentences(against)
    yield Text(f"\n{first}", style="bold")
    yield Text(f"  {second}")
    table = Table(box=None, pad_edge=False)
    for name in ("figure", "rows", "older − captured, ms", "95 %", "older ÷ captured"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for summary in against.summaries:
        table.add_row(
            summary.figure + (" (valid rows)" if summary.valid_only else ""),
            str(summary.rows),
            f"{summary.median_difference_ms:+.2f}",
            _within(summary.interval).strip(),
            f"{summary.median_ratio:.3f}",
        )
    yield table
    yield Text(f"\nrow by row{_first(against)}", style="bold")
    yield _by_row(against)


def _first(against: Against) -> str:
    return f", the first {SHOWN_AGAINST} of {against.matched}" if _many(against) else ""


def _many(against: Against) -> bool:
    return against.matched > SHOWN_AGAINST


def _by_row(against: Against) -> Table:
    """Older less captured of each figure, a sample a line."""
    table = Table(box=None, pad_edge=False)
    table.add_column("sample")
    for figure in LIKE_WITH_LIKE:
        table.add_column(figure, justify="right")
    table.add_column("")
    rows: dict[str, dict[str, AgainstRow]] = {}
    for row in against.rows:
        rows.setdefault(row.sample_id, {})[row.figure] = row
    for sample_id, figures in list(rows.items())[:SHOWN_AGAINST]:
        cells = [f"{figures[n].difference_ms:+.2f}" if n in figures else "" for n in LIKE_WITH_LIKE]
        valid = all(row.valid for row in figures.values())
        table.add_row(sample_id, *cells, "" if valid else "invalid")
    return table


def _within(interval: Interval | None) -> str:
    """` [low, high]`, to follow a figure; empty without an interval."""
    return "" if interval is None else f" [{interval.low:.2f}, {interval.high:.2f}]"
