"""Patterns of a stage map that fit no range: the names that the traces have are the remedy."""

from __future__ import annotations

from collections.abc import Collection

from trace_timing.records.findings import FigureWarning
from trace_timing.timeline.build.processes import lay_out_each
from trace_timing.timeline.naming.stage_names import DEFAULT_STAGES, StageMap
from trace_timing.trace.files.reading import open_trace
from trace_timing.trace.kineto.inflating import MOST_INFLATION

#: Names told at most; a trace of a framework can have hundreds.
MOST_NAMES = 12


def unmatched_patterns(
    stages: StageMap,
    found: Collection[str],
    trace: str,
    max_inflation: float = MOST_INFLATION,
) -> FigureWarning | None:
    """A warning that names the user's own patterns whose stage is in no trace; None if all are.

    Args:
        found: stages that the analysis has.
        trace: path or URL of a trace, read again for the names of its other ranges.
    """
    if stages.name:  # a built-in map has more names than any one trace
        return None
    own = [pair for pair in stages.patterns if pair not in DEFAULT_STAGES.patterns]
    silent = sorted({stage for _, stage in own if stage not in found and stage != "generate"})
    if not silent:
        return None
    laid_out = lay_out_each(open_trace(trace, max_inflation=max_inflation), stages)
    names = list(dict.fromkeys(n for _, timeline in laid_out for n in timeline.unclaimed_ranges))
    seen = ", ".join(names[:MOST_NAMES]) or "none besides those that fit"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    patterns = ", ".join(f"{stage} = {p.pattern}" for p, stage in own if stage in silent)
    return FigureWarning(
        code="pattern_fits_nothing",
        message=f"No range fits the pattern of {', '.join(silent)}, so that time is in other rows.",
        evidence=f"{patterns}; range names seen: {seen}{more}",
        remedy="write the pattern so that it fits the whole of one of these names",
    )
