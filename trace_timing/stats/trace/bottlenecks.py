"""Verdicts: what bounds each stage, in a sentence, with the evidence and a remedy.

Each rule requires a least evidence; a stage that meets none gets no verdict. What bounds a stage is
what takes most of it, so the rules host-bound, held up and device-bound compare times with each
other and not with a threshold. All judge the run as recorded: profiling slows the host, so a stage
may be host-bound only under the profiler, and the evidence says that its cost is included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from trace_timing.schema.breakdown import (
    Communication,
    GraphUse,
    IdleCause,
    KindTime,
    QueueFigures,
    SyncLoop,
    Verdict,
)
from trace_timing.stages import Stage
from trace_timing.timeline.breakdown.idle_causes import Cause
from trace_timing.units import ms_from_ns

#: Least share of the run for a stage to have verdicts: below, no remedy would be noticed.
LEAST_STAGE_FRAC = 0.01
#: Least share of the stage for a cause to have a verdict: below, removing it would gain less than
#: repeats on one machine differ (5 % is the spread that warm-up accepts).
LEAST_GAIN_FRAC = 0.05
#: Least busy share of a device-bound stage: beyond it, nothing but less or faster device work gains
#: more than a tenth.
DEVICE_BOUND_BUSY_FRAC = 0.9

#: Idle causes in which the host launched nothing, or not early enough.
_HOST_GAPS: tuple[Cause, ...] = ("host", "launch", "launch_latency", "api")


_SUBJECTS: Mapping[Stage, str] = {"other": "What lies outside the forwards"}


@dataclass(frozen=True, kw_only=True)
class StageEvidence:
    """The figures of one stage of one run from which its verdicts are made."""

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
    #: Number of recorded steps, which the figures cover, and of all steps; None where equal.
    recorded_of: tuple[int, int] | None = None

    @property
    def subject(self) -> str:
        """The stage as the beginning of a sentence."""
        return _SUBJECTS.get(self.stage, self.stage.replace("_", " ").capitalize())

    @property
    def idle_frac(self) -> float:
        """Share of the window in which the device idles."""
        return 1 - self.busy_ns / self.window_ns if self.window_ns > 0 else 0.0

    @property
    def starves(self) -> bool:
        """Whether most launches found the device without work."""
        return self.queue is not None and self.queue.starved_launches > self.queue.launches / 2

    @property
    def syncs_in_a_loop(self) -> bool:
        """Whether it synchronizes more than once a forward (once is for the token) and idles for
        it."""
        return (
            self.loop is not None
            and self.loop.syncs > self.forwards
            and self.loop.drained_ns >= LEAST_GAIN_FRAC * self.window_ns
        )

    @property
    def exposed_ns(self) -> int:
        """Exposed time in collectives of the device that has most of it."""
        return max((row.exposed_ns for row in self.communication), default=0)

    def idle_in(self, *causes: Cause) -> int:
        """Idle time of these causes."""
        return sum(row.idle_ns for row in self.causes if row.cause in causes)


def verdicts(stage: StageEvidence) -> tuple[Verdict, ...]:
    """The verdicts that a stage's evidence supports, the most specific first; often none."""
    if stage.window_ns <= 0 or stage.window_ns < LEAST_STAGE_FRAC * stage.run_ns:
        return ()
    made = (verdict for rule in _RULES for verdict in rule(stage))
    if stage.recorded_of is None:
        return tuple(made)
    recorded, steps = stage.recorded_of
    steps_note = f"; in the {recorded:,} recorded steps of {steps:,}"
    return tuple(replace(verdict, evidence=verdict.evidence + steps_note) for verdict in made)


def _sync_loop(e: StageEvidence) -> Iterator[Verdict]:
    """A loop that synchronizes in every iteration, over experts or others."""
    loop = e.loop
    if loop is None or not e.syncs_in_a_loop:
        return
    evidence = _loop_evidence(e, loop)
    # A loop over experts asks for each expert's tokens and multiplies for those that have some.
    if loop.after_compaction > loop.syncs / 2 and loop.after_gemm:
        yield Verdict(
            stage=e.stage,
            code="expert_sync_loop",
            sentence=(
                f"{e.subject} runs a loop that synchronizes once per expert: the host asks the "
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
            f"{e.subject} synchronizes with the device {loop.syncs:,} times, so the host cannot "
            f"run ahead."
        ),
        evidence=evidence,
        remedy="keep what the host asks for (.item(), .tolist(), nonzero, bool(tensor)) on the "
        "device, or ask once for all",
    )


def _loop_evidence(e: StageEvidence, loop: SyncLoop) -> str:
    return (
        f"{loop.call_count:,} {loop.call} ({loop.call_count / e.forwards:,.0f} a forward, "
        f"{loop.run_call_count:,} in the run); {loop.after_compaction:,} of {loop.syncs:,} "
        f"synchronizations follow a compaction (nonzero), {loop.after_gemm:,} a matrix product; "
        f"{loop.ops_between_median:.0f} GPU ops lie between two (median); the GPU idles "
        f"{ms_from_ns(loop.drained_ns):.1f} ms ({loop.drained_ns / e.window_ns:.0%}) in the gaps "
        f"around them"
    )


def _allocator(e: StageEvidence) -> Iterator[Verdict]:
    """Time in allocator calls."""
    idle = e.idle_in("alloc")
    if idle < LEAST_GAIN_FRAC * e.window_ns:
        return
    rows = [row for row in e.causes if row.cause == "alloc"]
    calls = ", ".join(f"{row.count:,} {row.call}" for row in rows)
    yield Verdict(
        stage=e.stage,
        code="allocator",
        sentence=f"{e.subject} waits for the allocator: {idle / e.window_ns:.0%} of its time.",
        evidence=f"{calls}; {ms_from_ns(idle):.2f} ms idle inside them",
        remedy="do not call empty_cache() before a timed run; warm up at the largest shapes, or "
        "set expandable_segments",
    )


def _exposed(e: StageEvidence) -> Iterator[Verdict]:
    """Time in collectives that no other work hides."""
    exposed = e.exposed_ns
    if exposed < LEAST_GAIN_FRAC * e.window_ns:
        return
    worst = max(e.communication, key=lambda row: row.exposed_ns)
    yield Verdict(
        stage=e.stage,
        code="exposed_communication",
        sentence=f"{e.subject} waits for collectives: {exposed / e.window_ns:.0%} of its time.",
        evidence=f"device {worst.device}: {worst.nccl_ops:,} collectives, "
        f"{ms_from_ns(exposed):.2f} ms exposed, {ms_from_ns(worst.hidden_ns):.2f} ms hidden",
        remedy="overlap collectives with computation, or shard so that fewer are needed; check "
        "whether a slow rank makes the others wait",
    )


def _copies(e: StageEvidence) -> Iterator[Verdict]:
    """Copies to and from the host."""
    rows = [k for k in e.kinds if k.op_kind in ("memcpy_htod", "memcpy_dtoh")]
    busy = sum(row.busy_ns for row in rows)
    if busy < LEAST_GAIN_FRAC * e.window_ns:
        return
    listed = ", ".join(f"{row.gpu_ops:,} {row.op_kind}" for row in rows)
    yield Verdict(
        stage=e.stage,
        code="copies",
        sentence=f"{e.subject} copies to or from the host {busy / e.window_ns:.0%} of its time.",
        evidence=f"{listed}; {ms_from_ns(busy):.2f} ms",
        remedy="batch the copies, pin the host's memory, copy ahead on another stream",
    )


def _host_bound(e: StageEvidence) -> Iterator[Verdict]:
    """The device waits for the host most of the time."""
    gaps = e.idle_in(*_HOST_GAPS)
    if not e.starves or gaps <= e.busy_ns:
        return
    yield Verdict(
        stage=e.stage,
        code="host_bound",
        sentence=(
            f"{e.subject} is host-bound: the GPU idles {e.idle_frac:.0%} of its time, waiting to "
            f"be given work."
        ),
        evidence=f"{_busy_of(e)}; {_gap_share(e, gaps)}; {_starved_share(e)}",
        remedy=_host_remedy(e),
    )


def _busy_of(e: StageEvidence) -> str:
    return (
        f"{ms_from_ns(e.busy_ns):.1f} ms busy of {ms_from_ns(e.window_ns):.1f} ms (as profiled, "
        "the profiler's own cost included)"
    )


def _gap_share(e: StageEvidence, gaps: int) -> str:
    idle = e.window_ns - e.busy_ns
    return f"{gaps / idle:.0%} of the idle time is the host's between launches"


def _starved_share(e: StageEvidence) -> str:
    if e.queue is None:
        return "no op was launched"
    share = e.queue.starved_launches / e.queue.launches
    return f"{share:.0%} of {e.queue.launches:,} launches found the GPU with nothing to do"


def _host_remedy(e: StageEvidence) -> str:
    """The remedy for a host-bound stage that fits its other evidence."""
    if e.graph is not None:
        return "replay more of it in one graph, or give each replay more work: a larger batch"
    if e.syncs_in_a_loop:
        return "remove the synchronizations first: no graph can be captured around them"
    if e.stage in ("decode", "mixed", "draft"):
        return (
            "static cache and torch.compile(mode='reduce-overhead') for CUDA graphs, or a larger "
            "batch"
        )
    if e.stage == "sampling":
        return "fewer or cheaper logits processors, stopping criteria and streamers"
    if e.stage == "other":
        return (
            "it is what generate() does around the forwards: see in a profile of the host "
            "(--profile full) what that is"
        )
    return "torch.compile to fuse and graph its launches, or a larger batch"


def _held_up(e: StageEvidence) -> Iterator[Verdict]:
    """Work is launched most of the time without any of it running."""
    launched = e.idle_in("launch_latency", "device_gap")
    nothing_launched = e.window_ns - e.busy_ns - launched
    if e.queue is None or e.starves or launched <= max(e.busy_ns, nothing_launched):
        return
    yield Verdict(
        stage=e.stage,
        code="held_up",
        sentence=(
            f"{e.subject} is held up: {launched / e.window_ns:.0%} of its time work is launched "
            f"and none of it runs."
        ),
        evidence=f"{_busy_of(e)}; {_starved_share(e)}",
        remedy=(
            "look for another process on the device (nvidia-smi), or a stream that waits for "
            "another"
        ),
    )


def _device_bound(e: StageEvidence) -> Iterator[Verdict]:
    """The device works most of the time."""
    # A collective that waits for another rank makes the device busy without work.
    if e.busy_ns - e.exposed_ns < DEVICE_BOUND_BUSY_FRAC * e.window_ns or not e.kinds:
        return
    top = sorted(e.kinds, key=lambda row: -row.busy_ns)[:3]
    shares = ", ".join(f"{row.op_kind} {row.busy_ns / e.busy_ns:.0%}" for row in top)
    yield Verdict(
        stage=e.stage,
        code="device_bound",
        sentence=f"{e.subject} is device-bound: the GPU works {e.busy_ns / e.window_ns:.0%} of it.",
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
    _held_up,
    _device_bound,
)
