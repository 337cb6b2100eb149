"""Choose the runs whose timelines the report contains: all of few, a selection of many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trace_timing.api.analysis.inputs import Inputs
from trace_timing.api.analysis.worker import Settings, timelines
from trace_timing.report.model import SampleDetail

if TYPE_CHECKING:
    import pandas as pd

#: Most runs whose timeline the report contains.
MOST_DETAILS = 12


def shown_timelines(
    inputs: Inputs,
    settings: Settings,
    runs: pd.DataFrame,
    made: dict[str, tuple[SampleDetail, ...]],
) -> tuple[SampleDetail, ...]:
    """Timelines of the runs that the report shows, computed where not in `made`.

    Args:
        runs: schema.RUNS.
        made: earlier timelines by trace; updated to those that are shown.
    """
    chosen = telling_traces(runs)
    for name in made.keys() - chosen:
        del made[name]
    for source in inputs.sources:
        if source.name in chosen and source.name not in made:
            made[source.name] = timelines(source, settings)
    return tuple(d for s in inputs.sources if s.name in chosen for d in made[s.name])


def telling_traces(runs: pd.DataFrame) -> set[str]:
    """Traces to show: all of few; of many those around the median, the slowest and the fastest."""
    recorded = runs[runs["role"] == "recorded"]
    order = recorded.sort_values("T_total_ms")["trace"].drop_duplicates().tolist()
    if len(order) <= MOST_DETAILS:
        return set(order)
    some, middle = MOST_DETAILS // 4, len(order) // 2
    return {*order[middle - some : middle + some], *order[:some], *order[-some:]}
