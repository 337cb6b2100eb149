"""Rows of the table `runs` for controls; those of recorded runs come with their traces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trace_timing.records.runs import ControlTimes, RunRecord
from trace_timing.stats.latency.evidence import cupti_state, detach_works
from trace_timing.stats.latency.record_columns import record_columns
from trace_timing.stats.latency.sample_latency import counted_controls
from trace_timing.stats.latency.sample_table import Sample
from trace_timing.stats.latency.times import decode_steps_of, in_ms, times_of_control


def control_rows(samples: tuple[Sample, ...]) -> Iterator[dict[str, Any]]:
    """schema.RUNS of every successful control of one capture."""
    capture = samples[0].capture if samples else None
    if capture is None:
        return
    counted = {
        sample.evidence.key: {control.index for control in _averaged(sample)} for sample in samples
    }
    works = detach_works(capture.manifest)
    for record in capture.controls:
        if record.status == "ok" and record.control is not None:
            yield _row(record, counted.get((record.sample_id, record.rank), set()), works=works)


def _averaged(sample: Sample) -> list[ControlTimes]:
    """The controls that the sample's latency is the mean of."""
    return counted_controls(sample.evidence.controls) if sample.latency.controls else []


def _row(record: RunRecord, counted: set[int], *, works: bool) -> dict[str, Any]:
    control = record.control
    assert control is not None
    return {
        "sample_id": record.sample_id,
        "repeat": record.repeat,
        "rank": record.rank,
        "role": "control",
        "index": control.index,
        **in_ms("", times_of_control(control)),
        "decode_steps": decode_steps_of(control) if control.segments else None,
        "cupti": cupti_state(control, works=works),
        "bare": control.bare,
        "counted": control.index in counted and not control.bare,
        "clock": control.clock,
        **record_columns(record),
    }
