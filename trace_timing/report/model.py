"""Input of every report: tables, summary, timelines of chosen runs, further pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trace_timing.arrays import IntArray
from trace_timing.records.findings import FigureWarning
from trace_timing.records.runs import Clock
from trace_timing.stages import Stage
from trace_timing.timeline.build.model import StageKey
from trace_timing.timeline.rows.tables import RunKey

if TYPE_CHECKING:
    import pandas as pd

Index = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class SampleDetail:
    """The timeline of one run; all times in ns since the start of its window.

    `tile_*` are the tiles that cover the window (all devices together); `op_*` the GPU ops, by
    start; `call_*` the calls that launched them; `range_*` the stage ranges on the host, generate
    included; `mark_*` the synchronizing and allocator calls; `idle_*` the stretches in which the
    device is idle, each of one stage and cause. Arrays of one prefix have the same length.
    """

    run: RunKey
    window_ns: int
    clock: Clock
    keys: tuple[StageKey, ...]
    #: Strings that the `*_name` arrays index: only those in use.
    names: tuple[str, ...]
    #: (device, stream) pairs that `op_lane` indexes, sorted.
    lanes: tuple[tuple[int, int], ...]

    tile_start_ns: IntArray
    tile_end_ns: IntArray
    tile_key: Index
    #: Values of timeline.build.model.State.
    tile_state: npt.NDArray[np.uint8]

    op_start_ns: IntArray
    op_end_ns: IntArray
    op_key: Index
    op_lane: Index
    op_name: Index

    #: Index into the calls; −1 where the launch is not in the trace.
    op_call: Index

    call_start_ns: IntArray
    call_end_ns: IntArray
    call_name: Index

    range_start_ns: IntArray
    range_end_ns: IntArray
    #: Index into keys; −1 for generate.
    range_key: Index
    #: 0 for the outermost.
    range_depth: Index

    mark_start_ns: IntArray
    mark_end_ns: IntArray
    mark_name: Index
    #: True for an allocator call, False for a synchronizing one.
    mark_is_alloc: npt.NDArray[np.bool_]

    idle_start_ns: IntArray
    idle_end_ns: IntArray
    idle_key: Index
    #: Index into idle_causes.CAUSES.
    idle_cause: Index
    #: Name of the call that the host is in; −1 if the cause is no call.
    idle_name: Index

    def stage_of(self, key: int) -> Stage:
        """Stage of an index into `keys`; `other` for −1."""
        return self.keys[key].stage if key >= 0 else "other"

    def label_of(self, key: int) -> str:
        """Label of an index into `keys`: `decode[3]`, `prefill`; `generate` for −1."""
        if key < 0:
            return "generate"
        return self.keys[key].label


@dataclass(frozen=True, kw_only=True)
class OlderFigure:
    """A figure of older results, shown beside the same figure of this capture."""

    #: `ms` as shown: `335 ms`.
    figure: str
    ms: float
    #: `ms` is the median of this many samples: those that both have.
    samples: int
    #: The most negative row: `down to −53.1 ms before clamping (0)`; empty if no row is negative.
    negative: str = ""


@dataclass(frozen=True)
class Section:
    """A further page of the report, such as the statistics or an audit.

    It shows the sentences first, then each figure and each sortable table under its title. A line
    break in a sentence is kept on the page.
    """

    slug: str
    title: str
    sentences: Sequence[str] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    #: Figures by title: figures.plain.Figure, or plotly's own.
    figures: Mapping[str, Any] = field(default_factory=dict)
    #: html.first_screen.FirstScreen, shown above everything else.
    screen: Any = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportData:
    """Everything a report shows.

    The tables are those of trace_timing.schema as pandas DataFrames. `summary` is what
    summary.json holds; the report reads these keys, each of which may be absent:
    `tool_version`, `format_version` (str, int); `environment`, `settings` (mappings);
    `checks` (rows with sample_id, repeat, rank, check, holds, left_ns, right_ns, detail);
    `warnings` (FigureWarning, or mappings of its fields); `unattributed` (reason → {gpu_ops,
    kernel_sum_ns}, or reason → count); `rejections` (Rejection or mappings); `commands` (the
    command lines that reproduce the report); `tolerance` (clock alignment, mapping).
    """

    samples: pd.DataFrame
    runs: pd.DataFrame
    stages: pd.DataFrame
    device_stages: pd.DataFrame
    steps: pd.DataFrame
    kernels: pd.DataFrame
    summary: Mapping[str, Any] = field(default_factory=dict)
    #: Timelines of some runs; the pages of other runs have stages and steps alone.
    details: Mapping[RunKey, SampleDetail] = field(default_factory=dict)
    #: Further pages, such as why and statistics.
    sections: Sequence[Section] = ()
    #: schema.VERDICTS: what bounds each stage of each run; None if not computed.
    verdicts: pd.DataFrame | None = None
    #: Figures of older results of the same samples, by time of the sample table (`T_total`).
    older: Mapping[str, OlderFigure] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[FigureWarning, ...]:
        """The summary's warnings as records; the summary may hold them as mappings."""
        return tuple(
            warning if isinstance(warning, FigureWarning) else FigureWarning(**warning)
            for warning in self.summary.get("warnings", ())
        )

    @cached_property
    def recorded(self) -> pd.DataFrame:
        """The rows of `runs` that have a trace."""
        return self.runs[self.runs["role"] == "recorded"].reset_index(drop=True)

    @property
    def host_clock(self) -> bool:
        """Whether any run was timed by host ranges alone."""
        return bool((self.recorded["clock"] == "host").any())
