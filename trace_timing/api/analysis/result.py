"""The result of an analysis: its tables as pandas DataFrames, warnings and statistics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from trace_timing.api.analysis.table_files import StoredTables
from trace_timing.errors import EXIT_GOOD, EXIT_REJECTED
from trace_timing.records.findings import FigureWarning, Rejection
from trace_timing.records.manifest import Manifest
from trace_timing.records.runs import RunRecord
from trace_timing.report.model import ReportData, SampleDetail, Section
from trace_timing.stats.capture.growth import LatencyGrowth
from trace_timing.stats.latency.recording_effect import RecordingEffect
from trace_timing.stats.trace.trace_result import RunSummary, TraceSummary

if TYPE_CHECKING:
    import pandas as pd

    from trace_timing.report.html.notebook import Figures
    from trace_timing.stats.capture.statistics import Statistics


@dataclass(frozen=True, kw_only=True, repr=False)
class Analysis:
    """The result of analyze(): tables as pandas DataFrames, warnings and statistics.

    A notebook shows it as a short report; `figures` has the report's figures to restyle.
    """

    tables: StoredTables
    run_summaries: tuple[RunSummary, ...]
    traces: tuple[TraceSummary, ...]
    rejections: tuple[Rejection, ...]
    manifests: tuple[Manifest, ...] = ()
    #: Records of all recorded runs and controls of the captures among the inputs.
    records: tuple[RunRecord, ...] = ()
    warnings: tuple[FigureWarning, ...] = ()
    #: Recorded ÷ control by group of stages; None where no sample has both.
    recording_effect: RecordingEffect | None = None
    #: How a decode step's latency changes with its position; None without controls of steps.
    growth: LatencyGrowth | None = None
    #: Timelines of the runs that the report shows.
    details: tuple[SampleDetail, ...] = ()

    @cached_property
    def samples(self) -> pd.DataFrame:
        """schema.SAMPLES and metadata columns: one row for each sample."""
        return self._frame("samples")

    @cached_property
    def runs(self) -> pd.DataFrame:
        """schema.RUNS: one row for each recorded run or control."""
        return self._frame("runs")

    @cached_property
    def stages(self) -> pd.DataFrame:
        """schema.STAGES: one row for each run and stage."""
        return self._frame("stages")

    @cached_property
    def device_stages(self) -> pd.DataFrame:
        """schema.DEVICE_STAGES: one row for each run, device and stage."""
        return self._frame("device_stages")

    @cached_property
    def steps(self) -> pd.DataFrame:
        """schema.STEPS: one row for each step of a run, or of a sample without a recorded run."""
        return self._frame("steps")

    @cached_property
    def step_summary(self) -> pd.DataFrame:
        """Times of a server's forwards by stage and batch size; empty without such a trace."""
        from trace_timing.stats.capture.step_summaries import serving_summary

        return serving_summary(self.steps, self.run_summaries, self.traces)

    @cached_property
    def generate_steps(self) -> pd.DataFrame:
        """`steps` without those of servers' traces, whose numbers are no positions."""
        from trace_timing.stats.capture.step_summaries import generate_steps

        return generate_steps(self.steps, self.run_summaries, self.traces)

    @cached_property
    def kernels(self) -> pd.DataFrame:
        """schema.KERNELS: one row for each run, stage and op name."""
        return self._frame("kernels")

    def _frame(self, name: str) -> pd.DataFrame:
        return frame_of(self.tables[name])

    @cached_property
    def statistics(self) -> Statistics:
        """Noise floor, growth with size and outliers over the runs."""
        from trace_timing.stats.capture.statistics import statistics

        return statistics(self.samples, self.runs, self.generate_steps, self.records, self.growth)

    @property
    def figures(self) -> Figures:
        """The report's figures as plotly figures: `.split()`, `.steps()`, `.timeline("id")` …"""
        from trace_timing.report.html.notebook import Figures

        return Figures(self._brief_data)

    def _repr_html_(self) -> str:
        """The short report that a notebook shows."""
        from trace_timing.report.html.notebook import summary_html

        return summary_html(self._brief_data)

    def __repr__(self) -> str:
        samples, warnings = self.samples["sample_id"].nunique(), len(self._brief_data.warnings)
        return f"<Analysis of {samples} samples, {len(self.runs)} runs, {warnings} warnings>"

    @cached_property
    def _brief_data(self) -> ReportData:
        """The input of the short report that a notebook shows."""
        return ReportData(
            samples=self.samples,
            runs=self.runs,
            stages=self.stages,
            device_stages=self.device_stages,
            steps=self.steps,
            # Kernel names are some 200 characters long and repeat in every run.
            kernels=frame_of(self.tables.read("kernels", words=("name", "stage", "op"))),
            summary=self.summary(),
            details={detail.run: detail for detail in self.details},
            verdicts=self._frame("verdicts"),
        )

    @property
    def checks_hold(self) -> bool:
        """Whether every check holds on every run and trace."""
        return all(
            check.holds
            for checks in (
                *(r.checks for r in self.run_summaries),
                *(t.checks for t in self.traces),
            )
            for check in checks
        )

    @property
    def is_sound(self) -> bool:
        """Whether no integrity check failed on any run or trace; warnings are no failures."""
        each = (*(r.checked for r in self.run_summaries), *(t.checked for t in self.traces))
        return all(result.level != "FAIL" for results in each for result in results)

    @property
    def exit_code(self) -> int:
        """0: good. 1: a trace was rejected, wholly unattributed or unsound, or a check broke."""
        attributed = not any(t.all_unattributed for t in self.traces)
        good = self.checks_hold and self.is_sound and attributed and not self.rejections
        return EXIT_GOOD if good else EXIT_REJECTED

    def summary(self) -> dict[str, Any]:
        """The content of summary.json: plain values, ready for JSON."""
        from trace_timing.report.export import plain, statistics_summary, summary_of

        summary = summary_of(
            self.run_summaries, self.traces, self.rejections, self.manifests, self.warnings
        )
        statistics = statistics_summary(self.statistics)
        return {**summary, "recording_effect": plain(self.recording_effect), **statistics}

    def report_data(self, *, pages: bool = True) -> ReportData:
        """The report's input.

        Args:
            pages: include the further pages and their figures, which the terminal does not need.
        """
        return replace(self._brief_data, sections=self._sections()) if pages else self._brief_data

    def _sections(self) -> tuple[Section, ...]:
        from trace_timing.report.html.sections.statistics import statistics_section
        from trace_timing.report.html.sections.why import why_section
        from trace_timing.stats.trace.diagnosis import WHY_TABLES

        names = (*WHY_TABLES, "ranks")
        why = why_section({name: self._frame(name) for name in names}, self.stages)
        numbers = statistics_section(self.statistics, self.samples, self.generate_steps)
        return (why, numbers) if why else (numbers,)


def frame_of(table: pa.Table) -> pd.DataFrame:
    """A table as a DataFrame; integer columns with nulls stay integers."""
    # Nullable integers, because a null would turn nanoseconds into floats.
    import pandas as pd

    kinds = {pa.int64(): pd.Int64Dtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=kinds.get)
    return frame
