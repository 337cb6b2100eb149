"""The same story for the terminal, in some thirty lines."""

from __future__ import annotations

from rich.console import RenderableType

from trace_timing.report.model import ReportData


def render(data: ReportData, *, width: int | None = None) -> RenderableType:
    """A stage table with its sentences and doubts, to be printed with a rich Console.

    Args:
        width: columns of the terminal; below 70 the table leaves its lesser columns out.
    """
    raise NotImplementedError
