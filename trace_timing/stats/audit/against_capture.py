"""Compare older rows with a capture of the same samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from trace_timing.errors import UsageError
from trace_timing.stats.audit.read_results import OlderResults
from trace_timing.stats.audit.row_validity import Judged, column
from trace_timing.stats.methods.intervals import Interval, median_interval

#: Older figure → the columns of the sample table whose sum it is. The older decode is the rest of
#: the total, so it includes sampling and everything else.
Basis = Literal["control", "scaled", "attached", "recorded"]
LIKE_WITH_LIKE: dict[str, tuple[str, ...]] = {
    "T_vision_total": ("T_vision_total",),
    "T_LLM_prefill": ("T_LLM_prefill",),
    "T_LLM_decode": ("T_LLM_decode", "T_sampling", "T_rest"),
    "T_total": ("T_total",),
}


@dataclass(frozen=True, kw_only=True)
class AgainstRow:
    """One figure of one sample, older against captured (ms)."""

    sample_id: str
    figure: str
    older_ms: float
    captured_ms: float
    difference_ms: float
    valid: bool


@dataclass(frozen=True, kw_only=True)
class AgainstSummary:
    """One figure over the common samples; `valid_only` leaves out invalid older rows."""

    figure: str
    valid_only: bool
    rows: int
    median_difference_ms: float
    interval: Interval | None
    median_ratio: float


@dataclass(frozen=True, kw_only=True)
class Against:
    """Older rows against a capture of the same samples.

    The older decode is the total less vision and prefill, so it is compared with the capture's
    decode + sampling + rest.
    """

    source: str
    #: The worst source of the capture's latencies; older results had no profiler.
    basis: Basis
    matched: int
    unmatched: int
    summaries: tuple[AgainstSummary, ...]
    rows: tuple[AgainstRow, ...]


def hold_against(
    older: OlderResults, judged: Judged, samples: pd.DataFrame, *, source: str
) -> Against:
    """Each older figure less the captured one, by sample id.

    Args:
        samples: schema.SAMPLES; ranks of a sample are reduced to their median.
    Raises:
        UsageError: no sample id is in both.
    """
    basis = _basis(samples)
    captured = _captured(samples)
    ids = older.figures["sample_id"]
    once = ~ids.duplicated(keep=False)
    shared = (once & ids.isin(captured.index)).to_numpy(dtype=bool)
    if not shared.any():
        raise UsageError(
            f"no sample of {older.source.name} is in {source}",
            why=f"ids there: {', '.join(map(str, captured.index[:5]))} …; "
            f"here: {', '.join(ids[:5])} …",
            remedy="capture the same samples under the same ids",
        )
    rows = tuple(
        row for name in LIKE_WITH_LIKE for row in _rows(older, judged, captured, shared, name)
    )
    return Against(
        source=source,
        basis=basis,
        matched=int(shared.sum()),
        unmatched=int((~shared).sum()),
        summaries=tuple(
            summary
            for name in LIKE_WITH_LIKE
            for valid_only in (False, True)
            for summary in _summary(rows, name, valid_only)
        ),
        rows=rows,
    )


def _basis(samples: pd.DataFrame) -> Basis:
    sources: tuple[Basis, ...] = ("recorded", "attached", "scaled", "control")
    return next(source for source in sources if (samples["latency_source"] == source).any())


def _captured(samples: pd.DataFrame) -> pd.DataFrame:
    # A stage that a run lacks took no time; the sum is null only where all its columns are.
    times = pd.DataFrame(
        {
            name: samples[[f"{part}_ms" for part in parts]].sum(axis=1, min_count=1)
            for name, parts in LIKE_WITH_LIKE.items()
        }
    )
    return times.groupby(samples["sample_id"].astype(str)).median()


def _rows(
    older: OlderResults,
    judged: Judged,
    captured: pd.DataFrame,
    shared: np.ndarray[tuple[int], np.dtype[np.bool_]],
    name: str,
) -> list[AgainstRow]:
    ids = older.figures["sample_id"].to_numpy()
    ours = column(older.figures, name)
    theirs = column(captured.reindex(ids), name)
    return [
        AgainstRow(
            sample_id=str(ids[i]),
            figure=name,
            older_ms=float(ours[i]),
            captured_ms=float(theirs[i]),
            difference_ms=float(ours[i] - theirs[i]),
            valid=bool(judged.valid[i]),
        )
        for i in np.flatnonzero(shared & np.isfinite(ours + theirs))
    ]


def _summary(
    rows: tuple[AgainstRow, ...], name: str, valid_only: bool
) -> tuple[AgainstSummary, ...]:
    chosen = [row for row in rows if row.figure == name and (row.valid or not valid_only)]
    if not chosen:
        return ()
    differences = np.array([row.difference_ms for row in chosen])
    ratios = [row.older_ms / row.captured_ms for row in chosen if row.captured_ms > 0]
    return (
        AgainstSummary(
            figure=name,
            valid_only=valid_only,
            rows=len(chosen),
            median_difference_ms=float(np.median(differences)),
            interval=median_interval(differences),
            median_ratio=float(np.median(ratios)) if ratios else float("nan"),
        ),
    )
