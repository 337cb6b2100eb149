"""Warn about patterns of a stage map that match no range, or ranges of another stage."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from trace_timing.arrays import distinct_codes
from trace_timing.records.findings import FigureWarning
from trace_timing.timeline.build.processes import lay_out_each
from trace_timing.timeline.naming.patterns import Pattern
from trace_timing.timeline.naming.stage_names import DEFAULT_STAGES, StageMap
from trace_timing.trace.events import Kind, Trace
from trace_timing.trace.files.reading import open_trace
from trace_timing.trace.kineto.inflating import MOST_INFLATION

#: Most range names in a message; a framework's trace can have hundreds.
MOST_NAMES = 12


def doubtful_patterns(
    stages: StageMap,
    found: Collection[str],
    trace: str,
    max_inflation: float = MOST_INFLATION,
) -> tuple[FigureWarning, ...]:
    """Warnings about a user's patterns that match nothing, or too much.

    Args:
        found: stages that the analysis has.
        trace: path or URL of a trace, read again for its range names.
    """
    if stages.name:  # a built-in map has more names than any one trace
        return ()
    own = [pair for pair in stages.patterns if pair not in DEFAULT_STAGES.patterns]
    silent = sorted({stage for _, stage in own if stage not in found and stage != "generate"})
    if not own or (not silent and "decode" in found):
        return ()
    opened = open_trace(trace, max_inflation=max_inflation)
    return (
        *_fitting_nothing(own, silent, opened, stages),
        *_fitting_others(stages, own, _range_names(opened)),
    )


def _fitting_nothing(
    own: Sequence[tuple[Pattern, str]], silent: Sequence[str], trace: Trace, stages: StageMap
) -> Iterator[FigureWarning]:
    """A warning about stages whose patterns match no range."""
    if not silent:
        return
    laid_out = lay_out_each(trace, stages)
    names = list(dict.fromkeys(n for _, timeline in laid_out for n in timeline.unclaimed_ranges))
    patterns = ", ".join(f"{stage} = {p.pattern}" for p, stage in own if stage in silent)
    yield FigureWarning(
        code="pattern_fits_nothing",
        message=f"No range fits the pattern of {', '.join(silent)}, so that time is in other rows.",
        evidence=f"{patterns}; range names seen: {_listed(names) or 'none besides those that fit'}",
        remedy="write the pattern so that it fits the whole of one of these names",
    )


def _fitting_others(
    stages: StageMap, own: Sequence[tuple[Pattern, str]], names: Sequence[str]
) -> Iterator[FigureWarning]:
    """Warnings about patterns that match ranges named as another stage, as `.*` does."""
    taken: dict[str, list[str]] = {}
    for name in names:
        usual, read = DEFAULT_STAGES.resolve(name), stages.resolve(name)
        if usual and read and usual.stage != read.stage:
            taken.setdefault(read.stage, []).append(name)
    for stage, fitted in taken.items():
        patterns = ", ".join(p.pattern for p, of in own if of == stage)
        yield FigureWarning(
            code="pattern_fits_other_stage",
            message=f"The pattern of {stage} fits ranges that are named as other stages, and they "
            f"count as {stage}.",
            evidence=f"{stage} = {patterns} fits {_listed(fitted)}",
            remedy="write the pattern so that it fits none of these names",
        )


def _range_names(trace: Trace) -> list[str]:
    events = trace.events
    return [trace.names[code] for code in distinct_codes(events.name[events.rows(Kind.RANGE)])]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
