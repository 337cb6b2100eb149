"""Colours and names of stages, the same in pages, figures, terminal and annotated traces."""

from __future__ import annotations

from trace_timing.stages import STAGES, Stage
from trace_timing.timeline.breakdown.idle_causes import Cause

#: Distinguishable with every common colour blindness: neighbours in a generate() call differ in
#: lightness as well as hue (checked in tests/report/test_palette.py).
COLOURS: dict[Stage, str] = {
    "text_encoder": "#8a6d1d",
    "vision_encoder": "#0072b2",
    "projector": "#56b4e9",
    "vision": "#2b4c9b",
    "prefill": "#e69f00",
    "mixed": "#6a3d9a",
    "decode": "#009e73",
    "sampling": "#cc79a7",
    "draft": "#d55e00",
    "other": "#5d6373",
    "unattributed": "#c4c4cc",
}

LABELS: dict[Stage, str] = {
    "text_encoder": "Text encoder",
    "vision_encoder": "Vision encoder",
    "projector": "Projector",
    "vision": "Vision (rest)",
    "prefill": "Prefill",
    "mixed": "Prefill + decode",
    "decode": "Decode",
    "sampling": "Sampling",
    "draft": "Draft",
    "other": "Other",
    "unattributed": "Unattributed",
}

#: Colours of series that are not stages, in order of use. The scheme "light" of Paul Tol (Colour
#: Schemes, SRON/EPS/TN/09-002, 2021), distinguishable with any colour blindness, and a grey;
#: readable on both themes.
SERIES = (
    *("#77aadd", "#ee8866", "#44bb99", "#eedd88", "#ffaabb"),
    *("#99ddff", "#bbcc33", "#aaaa00", "#dddddd", "#8a8f9c"),
)

#: Line colours of recorded times and of GPU busy times; latencies have the stage's colour.
RECORDED_COLOUR, BUSY_COLOUR = "#d55e00", "#3f7fd0"

#: Cause of idle time → its colour in the timeline's lowest row: blue where launched work has not
#: started, other hues where nothing is queued.
CAUSE_COLOURS: dict[Cause, str] = {
    "host": "#ee8866",
    "launch": "#eedd88",
    "launch_latency": "#77aadd",
    "device_gap": "#99ddff",
    "sync": "#b6486a",
    "copy": "#44bb99",
    "alloc": "#8563cc",
    "api": "#bbcc33",
    "tail": "#8a8f9c",
}

#: Colours of the device's states, readable on both themes.
BUSY, QUEUED, EMPTY = "#5b7fa6", "#c8862e", "rgba(128,138,155,0.35)"
UNKNOWN = "rgba(128,138,155,0.1)"

#: The Chrome trace viewer accepts only its own colour names: the one nearest to each stage's.
CATAPULT_NAMES: dict[Stage, str] = {
    "text_encoder": "olive",
    "vision_encoder": "thread_state_runnable",
    "projector": "rail_response",
    "vision": "rail_load",
    "prefill": "thread_state_iowait",
    "mixed": "vsync_highlight_color",
    "decode": "good",
    "sampling": "detailed_memory_dump",
    "draft": "bad",
    "other": "grey",
    "unattributed": "white",
}

#: The same colours for rich, which reduces them to what the terminal can show.
RICH: dict[Stage, str] = dict(COLOURS)


def in_order(stages: set[str]) -> list[Stage]:
    """The given stages in the order of a generate() call."""
    return [stage for stage in STAGES if stage in stages]
