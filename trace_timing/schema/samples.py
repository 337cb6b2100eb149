"""Samples and runs: the tables that people train on and quote."""

from __future__ import annotations

from collections.abc import Iterable

from trace_timing.schema.common import CLOCK, RUN_KEY
from trace_timing.schema.table import Column, Table

#: Time of the sample table → its definition. Each has the columns …_ms with its interval (…_lo_ms,
#: …_hi_ms), …_busy_ms and …_recorded_ms.
SAMPLE_TIMES: dict[str, str] = {
    "T_vision_encoder": "Vision encoder.",
    "T_projector": "Projector.",
    "T_vision_total": "All three vision stages.",
    "T_LLM_prefill": "First forward of the language model, exclusive of vision.",
    "T_LLM_decode": "Sum of the decode steps.",
    "T_sampling": "Sum over forwards of the time from its end until the next begins.",
    "T_rest": "Every other stage.",
    "T_total": "The whole generate().",
    "T_decode_per_token": "Decode ÷ steps; null where there is no step.",
    "T_TTFT": "Time to first token: from the begin of generate() to the end of sampling[0].",
}

#: Times that sum to T_total, by construction.
SAMPLE_PARTS = ("T_vision_total", "T_LLM_prefill", "T_LLM_decode", "T_sampling", "T_rest")

#: Times whose busy time is unknown where not every step was recorded; …_busy_estimate_ms has
#: estimates.
ESTIMATED_TIMES = ("T_LLM_decode", "T_sampling", "T_rest", "T_total")

#: Columns of what a sample's figures were measured on.
IDENTITY = (
    "model",
    "revision",
    "dtype",
    "attention",
    "device",
    "torch",
    "transformers",
    "cuda",
    "driver",
)


def _times(kind: str, template: str) -> Iterable[Column]:
    for name, definition in SAMPLE_TIMES.items():
        text = template.format(name=f"{name}_ms", definition=definition)
        yield Column(f"{name}{kind}_ms", "float64", "ms", text, nullable=True)


_PART = (
    Column(
        "recorded_steps",
        "int64",
        "count",
        "Decode steps that were recorded and are counted. If fewer than decode_steps, "
        "T_decode_per_token_busy_ms and _recorded_ms are the mean over these, the sums of decode, "
        "sampling, rest and total are null, and busy times have estimates.",
        nullable=True,
    ),
    *(
        Column(
            f"{name}_busy_estimate_ms",
            "float64",
            "ms",
            f"Estimate of {name}_busy_ms where that is null because not all was recorded, by "
            "linear interpolation between recorded steps.",
            nullable=True,
        )
        for name in ESTIMATED_TIMES
    ),
    Column(
        "gpu_ops",
        "int64",
        "count",
        "All ops of the recorded run; null where not all was recorded.",
        nullable=True,
    ),
    Column("gpu_ops_estimate", "float64", "count", "Its estimate where null.", nullable=True),
)

_TOKENS = (
    Column("decode_steps", "int64", "count", "Forwards after prefill.", nullable=True),
    Column(
        "input_tokens", "int64", "count", "Positions of the prompt, where recorded.", nullable=True
    ),
    Column(
        "output_tokens",
        "int64",
        "count",
        "New positions of the longest row, where recorded.",
        nullable=True,
    ),
)

SAMPLES = Table(
    "samples",
    ("sample_id", "rank"),
    (
        RUN_KEY[0],
        RUN_KEY[2],
        *_times("", "{definition}"),
        *_times("_lo", "Lower end of the 95 % interval of {name}."),
        *_times("_hi", "Upper end of the 95 % interval of {name}."),
        Column(
            "latency_source",
            "string",
            "",
            "Where T_*_ms come from: `control` (runs without a profiler), `scaled` (recorded "
            "windows × control ÷ recorded of other samples), `attached` (runs that the profiler "
            "slowed: an upper bound), `recorded` (the profiled run itself).",
        ),
        Column(
            "interval_from",
            "string",
            "",
            "Where the intervals come from: the sample's own `controls`, the `pooled` spread of "
            "the capture (below three controls), `leave one out` (scaled), `busy to recorded` (no "
            "95 % interval: the truth lies between).",
            nullable=True,
        ),
        Column("controls", "int64", "count", "Controls that the latency was made from."),
        Column(
            "half_width_frac",
            "float64",
            "fraction",
            "Half the width of T_total's interval ÷ T_total_ms.",
            nullable=True,
        ),
        Column(
            "T_step_undisturbed_ms",
            "float64",
            "ms",
            "Tenth percentile of the controls' steps (decode and sampling): a step with the host "
            "undisturbed.",
            nullable=True,
        ),
        *_times("_busy", "GPU work within {name}, from the recorded run."),
        *_times("_recorded", "{name} of the recorded run, which recording made longer."),
        Column("recorded_runs", "int64", "count", "Recorded runs of the sample; 0: none."),
        *_TOKENS,
        Column("output_tokens_total", "int64", "count", "Their sum over rows.", nullable=True),
        *_PART,
        Column(
            "usable",
            "bool",
            "",
            "T_*_ms may be used as labels: measured, and the total to within ± 50 % at 95 %.",
        ),
        Column("usable_decode", "bool", "", "Usable, and there is a decode step."),
        Column("reasons", "string", "", "Reasons to distrust the times, comma-separated."),
        Column(CLOCK.name, "string", "", CLOCK.definition, nullable=True),
        *(
            Column(name, "string", "", f"{name.capitalize()} of the sample's runs.", nullable=True)
            for name in IDENTITY
        ),
    ),
    open=True,
)

RUNS = Table(
    "runs",
    ("sample_id", "repeat", "rank", "role", "index"),
    (
        *RUN_KEY,
        Column("role", "string", "", "`recorded`: under the profiler; `control`: without."),
        Column("index", "int64", "", "Number of the control; null if recorded.", nullable=True),
        *_times("", "{definition} Of this run alone."),
        *_times("_busy", "GPU work within {name}; null for a control."),
        *_TOKENS,
        *_PART,
        Column(
            "cupti",
            "string",
            "",
            "Of a control: the profiler had `never` been used in the process, was `detached`, or "
            "still `attached`.",
            nullable=True,
        ),
        Column("bare", "bool", "", "A control without hooks: its total alone.", nullable=True),
        Column(
            "counted",
            "bool",
            "",
            "Whether the sample's latency is a mean over this control; false for one far out.",
            nullable=True,
        ),
        Column("ordinal", "int64", "", "Order of the run within its process.", nullable=True),
        Column("started_unix_ns", "int64", "ns", "When it began, since 1970.", nullable=True),
        Column(
            "probe_ns",
            "float64",
            "ns",
            "Host time of an empty launch just before the run.",
            nullable=True,
        ),
        Column("load_1m", "float64", "", "Load average of the machine before it.", nullable=True),
        Column(
            "psi_cpu_some_10s",
            "float64",
            "",
            "Per cent of the last 10 s in which some process waited for a CPU.",
            nullable=True,
        ),
        Column(
            "steal_ticks",
            "int64",
            "count",
            "CPU time that a hypervisor gave to others since boot, in 1/100 s.",
            nullable=True,
        ),
        Column("checks_hold", "bool", "", "All checks hold on this run.", nullable=True),
        Column("warnings", "string", "", "Codes of the warnings, comma-separated.", nullable=True),
        CLOCK,
        Column("trace", "string", "", "File it was read from.", nullable=True),
    ),
)
