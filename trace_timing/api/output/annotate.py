"""Write annotated copies of analysed traces for trace viewers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from trace_timing.api.analysis.analyze import stage_map
from trace_timing.api.analysis.inputs import find_inputs, kineto_file
from trace_timing.api.analysis.recorded_files import verified
from trace_timing.records.findings import FigureWarning
from trace_timing.report.viewer.annotate import write_annotated
from trace_timing.report.viewer.tracks import AnnotatedRun
from trace_timing.stats.trace.trace_result import TraceSource, run_keys
from trace_timing.timeline.build.processes import lay_out_each
from trace_timing.timeline.naming.stage_names import StageMap
from trace_timing.timeline.rows.tables import RunKey
from trace_timing.trace.events import Trace
from trace_timing.trace.kineto.reader import read_trace


def annotate(
    paths: Sequence[str],
    folder: Path,
    *,
    stages: str | Path | StageMap | None = None,
    warnings: Sequence[FigureWarning] = (),
) -> list[Path]:
    """Write an annotated copy of every Kineto trace of `paths` below `folder`.

    Traces of which only a compact store exists are left out, since it lacks most events.

    Args:
        warnings: shown in the traces of the runs that they are about, or in all if about none.
    Returns:
        The files written, in the order of the traces.
    Raises:
        TraceError: a trace cannot be read or laid out.
    """
    known_stages = stage_map(stages)
    written: list[Path] = []
    for source in find_inputs(paths).sources:
        file = kineto_file(source)
        if file is None:
            continue
        trace = read_trace(verified(source, file))
        runs = _runs(trace, source, known_stages, warnings)
        output = _output(file, folder, written)
        write_annotated(file, trace, runs, output)
        written.append(output)
    return written


def _output(file: Path, folder: Path, taken: Collection[Path]) -> Path:
    """A distinct path for each copy: traces of two captures may have the same name."""
    stem = file.name.split(".json")[0]
    names = (stem, *(f"{stem}-{n}" for n in range(2, len(taken) + 2)))
    paths = (folder / f"{name}.annotated.json.gz" for name in names)
    return next(path for path in paths if path not in taken)


def _runs(
    trace: Trace, source: TraceSource, stages: StageMap, warnings: Sequence[FigureWarning]
) -> list[AnnotatedRun]:
    """The runs of a trace with the warnings about each."""
    drawn = [
        AnnotatedRun(
            trace=part,
            run=run,
            warnings=tuple(warning for warning in warnings if _is_about(warning, key)),
        )
        for part, timeline in lay_out_each(trace, stages)
        for run, key in zip(timeline.runs, run_keys(source, timeline, part), strict=True)
    ]
    # Each process numbers its runs from 0, but in one file every run needs tracks of its own.
    return [
        replace(each, run=replace(each.run, ordinal=number)) if each.run.ordinal != number else each
        for number, each in enumerate(drawn)
    ]


def _is_about(warning: FigureWarning, key: RunKey) -> bool:
    named = (warning.sample_id, warning.repeat, warning.rank)
    own = (key.sample_id, key.repeat, key.rank)
    return all(part is None or part == mine for part, mine in zip(named, own, strict=True))
