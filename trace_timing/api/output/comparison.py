"""Compare two sides given as paths: captures by sample, servers' traces by forward."""

from __future__ import annotations

from collections.abc import Sequence

from trace_timing.api.output.load import Loaded, load
from trace_timing.errors import UsageError
from trace_timing.stats.comparison.compare import MARGIN_FRAC, ComparisonResult, compare
from trace_timing.stats.comparison.compare_steps import compare_steps
from trace_timing.stats.comparison.figures import Basis, Tables
from trace_timing.stats.comparison.step_cells import StepTables


def compare_paths(
    a: Sequence[str],
    b: Sequence[str],
    *,
    stages: str | None = None,
    basis: Basis = "latency",
    margin_frac: float = MARGIN_FRAC,
) -> ComparisonResult:
    """Compare B with the baseline A.

    Args:
        a, b: report or capture directories, or traces, of each side; each is one capture, or one
            recording of a server.
        stages: as in `analyze`, for traces.
    Raises:
        TraceTimingError: one cannot be read, or they are not of one kind.
    """
    left, right = ([load(path, stages=stages) for path in side] for side in (a, b))
    served = [side for side in (*left, *right) if len(side.served)]
    if not served:
        ours, theirs = ([_tables(side) for side in loaded] for loaded in (left, right))
        return compare(
            ours[0],
            theirs[0],
            also_a=ours[1:],
            also_b=theirs[1:],
            basis=basis,
            margin_frac=margin_frac,
        )
    if len(served) < len(left) + len(right):
        _refuse_mixture(served[0], [*left, *right])
    before, after = ([_step_tables(side) for side in loaded] for loaded in (left, right))
    return compare_steps(
        before[0],
        after[0],
        also_a=before[1:],
        also_b=after[1:],
        basis=basis,
        margin_frac=margin_frac,
    )


def _refuse_mixture(served: Loaded, loaded: Sequence[Loaded]) -> None:
    other = next(side for side in loaded if not len(side.served))
    raise UsageError(
        f"{served.source} holds forwards of a server, and {other.source} none",
        why="forwards compare with forwards, samples with samples",
        remedy="name the server with --stages, as --stages auto, or compare others",
    )


def _tables(loaded: Loaded) -> Tables:
    """A capture's input to a comparison."""
    return Tables(
        loaded.source,
        loaded.samples,
        loaded.kernels,
        loaded.environment,
        loaded.settings,
        loaded.state,
    )


def _step_tables(loaded: Loaded) -> StepTables:
    return StepTables(
        loaded.source, loaded.served, loaded.kernels, loaded.environment, loaded.settings
    )
