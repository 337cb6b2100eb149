"""What the report is drawn from: the tables, the summary, and the details of chosen runs."""

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
    """The timeline of one run, every time in ns since its window begins.

    `tile_*` cover the window (of the union of devices); `op_*` are its GPU ops by start;
    `call_*` are the calls that launched them; `range_*` its stage ranges on the host, generate
    among them; `mark_*` the synchronizing and allocator calls; `idle_*` the stretches in which the
    device idles, each of one stage and cause. Arrays of one prefix have the same length.
    """

    run: RunKey
    window_ns: int
    clock: Clock
    keys: tuple[StageKey, ...]
    #: Strings that `op_name` and `mark_name` point into: only those in use.
    names: tuple[str, ...]
    #: (device, stream) that `op_lane` points into, in that order.
    lanes: tuple[tuple[int, int], ...]

    tile_start_ns: IntArray
    tile_end_ns: IntArray
    tile_key: Index
    #: layout.State values.
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
    #: The call that the host is in; −1 where the cause is no call.
    idle_name: Index

    def stage_of(self, key: int) -> Stage:
        """Stage of a key index; what is in no key is `other`."""
        return self.keys[key].stage if key >= 0 else "other"

    def label_of(self, key: int) -> str:
        """`decode[3]`, `prefill`; `generate` for −1."""
        if key < 0:
            return "generate"
        return self.keys[key].label


@dataclass(frozen=True, kw_only=True)
class OlderFigure:
    """What older results say of the same figure."""

    #: `335 ms`
    figure: str
    ms: float
    #: It is the median of so many, which both have.
    samples: int
    #: Worst of the rows below zero, as `−53.1 ms in sample 0`; empty where none is.
    negative: str = ""


@dataclass(frozen=True)
class Section:
    """A further part of the report that another layer brings: a page of its own.

    Pages appear only where there is data. `tables` are shown as sortable tables under their
    titles; `sentences` stand above them, a line break in one is a line on the page.
    """

    slug: str
    title: str
    sentences: Sequence[str] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    #: Figures by title: figures.plain.Figure, or plotly's own.
    figures: Mapping[str, Any] = field(default_factory=dict)
    #: html.first_screen.FirstScreen that stands before everything else.
    screen: Any = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportData:
    """Everything a report shows.

    The tables are those of trace_timing.schema as pandas DataFrames. `summary` is what
    summary.json holds; the report reads these keys and does without what is absent:
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
    #: Timelines of the runs worth looking at; others show tables and step latencies alone.
    details: Mapping[RunKey, SampleDetail] = field(default_factory=dict)
    #: Pages of their own: why, compare, audit.
    sections: Sequence[Section] = ()
    #: schema.VERDICTS: what bounds each stage of each run; None where nobody asked.
    verdicts: pd.DataFrame | None = None
    #: What older results of the same samples say, by time of the sample table.
    older: Mapping[str, OlderFigure] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[FigureWarning, ...]:
        """The summary's warnings, as records whatever form they come in."""
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
