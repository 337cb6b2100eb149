"""One sentence a stage: what bounds it, the evidence, what would shorten it. Or none.

Each rule states the least evidence that it speaks on. A stage to which no rule speaks gets no
sentence: a figure in a table is better than a guess in words. Rules on the device's idle time are
given the corrected window where there is one, because profiling slows the host and would make
every run look host-bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from trace_timing.records import Stage
from trace_timing.timeline.communication import Communication
from trace_timing.timeline.graphs import GraphUse
from trace_timing.timeline.idle import Cause, IdleCause
from trace_timing.timeline.kind_times import KindTime
from trace_timing.timeline.queue import QueueFigures
from trace_timing.timeline.sync_loops import SyncLoop
from trace_timing.units import ms_from_ns

VerdictCode = Literal[
    "expert_sync_loop",
    "sync_bound",
    "allocator",
    "exposed_communication",
    "copies",
    "host_bound",
    "device_bound",
]

#: A stage shorter than this share of its run is not worth a sentence.
LEAST_STAGE_FRAC = 0.01
#: More than half of the time idle: the device is not what the stage waits for.
HOST_BOUND_IDLE_FRAC = 0.5
#: Of the idle time, what is gaps between launches (host code, launch calls, launch latency).
HOST_BOUND_GAP_FRAC = 0.8
#: Launches that found nothing left to run: the host never got ahead.
HOST_BOUND_STARVED_FRAC = 0.5
DEVICE_BOUND_BUSY_FRAC = 0.9
#: A forward of a model without data-dependent control flow synchronizes a few times, not so often.
SYNC_LOOP_PER_FORWARD = 50
#: Idle time in allocator calls, in exposed collectives; busy time in copies to or from the host.
ALLOCATOR_FRAC = 0.05
COMMUNICATION_FRAC = 0.1
COPIES_FRAC = 0.2

_GAPS: tuple[Cause, ...] = ("host", "launch", "launch_latency", "api")


@dataclass(frozen=True, kw_only=True)
class StageEvidence:
    """What is known of one stage of one run."""

    stage: Stage
    window_ns: int
    busy_ns: int
    #: The run's window.
    run_ns: int
    forwards: int
    causes: tuple[IdleCause, ...] = ()
    kinds: tuple[KindTime, ...] = ()
    queue: QueueFigures | None = None
    loop: SyncLoop | None = None
    graph: GraphUse | None = None
    communication: tuple[Communication, ...] = ()
    #: Window with the observer effect removed; None where that is not known.
    corrected_ns: int | None = None

    @property
    def idle_ns(self) -> int:
        """Window less busy."""
        return self.window_ns - self.busy_ns

    @property
    def idle_frac(self) -> float:
        """Share of the window in which the device idles, the observer effect removed if known."""
        window = self.window_ns if self.corrected_ns is None else self.corrected_ns
        return 1 - self.busy_ns / window if window > 0 else 0.0

    def idle_in(self, *causes: Cause) -> int:
        """Idle time of these causes."""
        return sum(row.idle_ns for row in self.causes if row.cause in causes)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What bounds a stage, in a sentence, with its evidence and the remedy that fits."""

    stage: Stage
    code: VerdictCode
    sentence: str
    evidence: str
    remedy: str


def verdicts(stage: StageEvidence) -> tuple[Verdict, ...]:
    """What the evidence of a stage carries, the most telling first; often nothing."""
    if stage.window_ns <= 0 or stage.window_ns < LEAST_STAGE_FRAC * stage.run_ns:
        return ()
    return tuple(verdict for rule in _RULES for verdict in rule(stage))


def _sync_loop(e: StageEvidence) -> Iterator[Verdict]:
    loop = e.loop
    if loop is None or loop.call_count < SYNC_LOOP_PER_FORWARD * max(e.forwards, 1):
        return
    per_forward = loop.call_count / max(e.forwards, 1)
    counts = (
        f"{loop.call_count:,} {loop.call} ({per_forward:,.0f} a forward, {loop.run_call_count:,} "
        f"in the run), {loop.after_compaction:,} of {loop.syncs:,} synchronizations after a "
        f"compaction (nonzero), {loop.after_gemm:,} after a matrix product, "
        f"{loop.ops_between_median:.0f} GPU ops between two (median)"
    )
    waited = e.idle_in("sync")
    evidence = f"{counts}; {ms_from_ns(waited):.1f} ms idle inside the calls themselves"
    # An expert loop asks for each expert's tokens and multiplies for those that have some.
    if loop.after_compaction > loop.syncs / 2 and loop.after_gemm:
        yield Verdict(
            stage=e.stage,
            code="expert_sync_loop",
            sentence=(
                f"{e.stage} runs a loop that synchronizes once per expert: the host asks the "
                f"device which tokens each expert has and waits for the answer, "
                f"{loop.call_count:,} times ({loop.run_call_count:,} {loop.call} in the run)."
            ),
            evidence=evidence,
            remedy=(
                "replace the loop over experts by grouped products (one permutation, one grouped "
                "GEMM: experts_implementation='grouped_mm' or a fused MoE kernel), which needs no "
                "answer from the device"
            ),
        )
        return
    yield Verdict(
        stage=e.stage,
        code="sync_bound",
        sentence=(
            f"{e.stage} synchronizes with the device {loop.syncs:,} times, so the host cannot "
            f"run ahead."
        ),
        evidence=evidence,
        remedy="keep what the host asks for (.item(), .tolist(), nonzero, bool(tensor)) on the "
        "device, or ask once for all",
    )


def _allocator(e: StageEvidence) -> Iterator[Verdict]:
    idle = e.idle_in("alloc")
    if idle < ALLOCATOR_FRAC * e.window_ns:
        return
    rows = [row for row in e.causes if row.cause == "alloc"]
    calls = ", ".join(f"{row.count:,} {row.call}" for row in rows)
    yield Verdict(
        stage=e.stage,
        code="allocator",
        sentence=f"{e.stage} waits for the allocator: {idle / e.window_ns:.0%} of its time.",
        evidence=f"{calls}; {ms_from_ns(idle):.2f} ms idle inside them",
        remedy="do not call empty_cache() before a timed run; warm up at the largest shapes, or "
        "set expandable_segments",
    )


def _exposed(e: StageEvidence) -> Iterator[Verdict]:
    exposed = max((row.exposed_ns for row in e.communication), default=0)
    if exposed < COMMUNICATION_FRAC * e.window_ns:
        return
    worst = max(e.communication, key=lambda row: row.exposed_ns)
    yield Verdict(
        stage=e.stage,
        code="exposed_communication",
        sentence=f"{e.stage} waits for collectives: {exposed / e.window_ns:.0%} of its time.",
        evidence=f"device {worst.device}: {worst.nccl_ops:,} collectives, "
        f"{ms_from_ns(exposed):.2f} ms exposed, {ms_from_ns(worst.hidden_ns):.2f} ms hidden",
        remedy="overlap collectives with computation, or shard so that fewer are needed; check "
        "whether a slow rank makes the others wait",
    )


def _copies(e: StageEvidence) -> Iterator[Verdict]:
    rows = [k for k in e.kinds if k.op_kind in ("memcpy_htod", "memcpy_dtoh")]
    busy = sum(row.busy_ns for row in rows)
    if busy < COPIES_FRAC * e.window_ns:
        return
    listed = ", ".join(f"{row.gpu_ops:,} {row.op_kind}" for row in rows)
    yield Verdict(
        stage=e.stage,
        code="copies",
        sentence=f"{e.stage} copies between host and device {busy / e.window_ns:.0%} of its time.",
        evidence=f"{listed}; {ms_from_ns(busy):.2f} ms",
        remedy="batch the copies, pin the host's memory, copy ahead on another stream",
    )


def _host_bound(e: StageEvidence) -> Iterator[Verdict]:
    gaps = e.idle_in(*_GAPS)
    starved = e.queue.starved_ops / e.queue.gpu_ops if e.queue and e.queue.gpu_ops else 0.0
    # A graph launch starves once for all its ops: a starved share says little there.
    enough = starved >= HOST_BOUND_STARVED_FRAC or e.graph is not None
    if e.idle_frac <= HOST_BOUND_IDLE_FRAC or gaps < HOST_BOUND_GAP_FRAC * e.idle_ns or not enough:
        return
    basis = (
        "as profiled, the profiler's own cost included"
        if e.corrected_ns is None
        else "with the observer effect removed"
    )
    ops = e.queue.gpu_ops if e.queue else 0
    yield Verdict(
        stage=e.stage,
        code="host_bound",
        sentence=(
            f"{e.stage} is host-bound: the GPU idles {e.idle_frac:.0%} of its time, waiting to be "
            f"given work ({basis})."
        ),
        evidence=(
            f"{ms_from_ns(e.busy_ns):.1f} ms busy of {ms_from_ns(e.window_ns):.1f} ms; "
            f"{gaps / e.idle_ns:.0%} of the idle time lies between launches; {starved:.0%} of "
            f"{ops:,} ops were launched onto an idle GPU"
        ),
        remedy=_host_remedy(e),
    )


def _host_remedy(e: StageEvidence) -> str:
    if e.graph is not None:
        return "replay more of it in one graph, or give each replay more work: a larger batch"
    if e.loop is not None and e.loop.call_count >= SYNC_LOOP_PER_FORWARD * max(e.forwards, 1):
        return "remove the synchronizations first: no graph can be captured around them"
    if e.stage in ("decode", "draft"):
        return (
            "static cache and torch.compile(mode='reduce-overhead') for CUDA graphs, or a larger "
            "batch"
        )
    if e.stage in ("sampling", "other"):
        return (
            "fewer or cheaper logits processors, stopping criteria and streamers between forwards"
        )
    return "torch.compile to fuse and graph its launches, or a larger batch"


def _device_bound(e: StageEvidence) -> Iterator[Verdict]:
    if e.window_ns == 0 or e.busy_ns < DEVICE_BOUND_BUSY_FRAC * e.window_ns or not e.kinds:
        return
    top = sorted(e.kinds, key=lambda row: -row.busy_ns)[:3]
    shares = ", ".join(f"{row.op_kind} {row.busy_ns / e.busy_ns:.0%}" for row in top)
    yield Verdict(
        stage=e.stage,
        code="device_bound",
        sentence=f"{e.stage} is device-bound: the GPU is busy {e.busy_ns / e.window_ns:.0%} of it.",
        evidence=f"of the busy time: {shares}",
        remedy="the host keeps up: faster kernels, smaller types or less work shorten it; see the "
        "distance to the limit",
    )


_RULES: tuple[Callable[[StageEvidence], Iterator[Verdict]], ...] = (
    _sync_loop,
    _allocator,
    _exposed,
    _copies,
    _host_bound,
    _device_bound,
)
