"""Annotated copies of the traces that were analysed, for the trace viewers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trace_timing.api.sources import find_inputs
from trace_timing.records import Doubt
from trace_timing.report.annotate import write_annotated
from trace_timing.timeline.runs import lay_out
from trace_timing.timeline.stages import DEFAULT_STAGES, StageMap, read_stage_map
from trace_timing.trace.kineto import read_trace


def annotate(
    paths: Sequence[str],
    folder: Path,
    *,
    stages: Path | None = None,
    doubts: Sequence[Doubt] = (),
) -> list[Path]:
    """Write an annotated copy of every Kineto trace of `paths` below `folder`.

    Traces that are there as a compact store alone have no events to stand beside: no copy.

    Args:
        doubts: those of a sample are shown in its trace.
    Returns:
        The files written, in the order of the traces.
    Raises:
        TraceError: a trace cannot be read or laid out.
    """
    stage_map: StageMap = read_stage_map(stages) if stages else DEFAULT_STAGES
    written = []
    for source in find_inputs(paths).sources:
        trace = Path(source.location.removeprefix("file://"))
        if not trace.is_file() or trace.suffix not in (".json", ".gz"):
            continue
        runs = lay_out(read_trace(trace), stage_map).runs
        mine = [d for d in doubts if d.sample_id in (None, source.sample_id)]
        output = folder / f"{source.name.split('.json')[0].replace('/', '-')}.annotated.json.gz"
        write_annotated(trace, runs, output, doubts=mine)
        written.append(output)
    return written
