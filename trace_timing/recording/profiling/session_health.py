"""Watch a process's profiler sessions for slow starts and growing memory.

Both are known defects of Kineto and CUPTI (seen: a second start of 1.8 s, 318 MiB per 1,000
sessions). A fresh process with `--resume` ends both; nothing inside the process does.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

#: A start is slow above both: this multiple of the median, and this time.
SLOW_RATIO = 10
SLOW_NS = 200_000_000
#: Sessions after which growth is judged, when buffers have reached their size.
SETTLED_AFTER = 20
GROWTH_BYTES_PER_SESSION = 1 << 20
REMEDY = "stop and go on with --resume: a fresh process is rid of it"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One defect of this process's sessions."""

    code: str
    evidence: str
    remedy: str = REMEDY


class SessionHealth:
    """Watches the start time and resident memory of each session."""

    def __init__(self) -> None:
        self._starts_ns: list[int] = []
        self._settled_bytes: int | None = None
        self._last_bytes: int | None = None

    def saw(self, start_ns: int, rss_bytes: int | None) -> None:
        """Note one session."""
        self._starts_ns.append(start_ns)
        self._last_bytes = rss_bytes
        if len(self._starts_ns) == SETTLED_AFTER:
            self._settled_bytes = rss_bytes

    def findings(self) -> list[Finding]:
        """The defects so far."""
        return [found for found in (self._slow(), self._growth()) if found is not None]

    def summary(self) -> dict[str, Any]:
        """For the manifest: sessions, their median start, findings."""
        usual = median(self._starts_ns) if self._starts_ns else None
        return {
            "sessions": len(self._starts_ns),
            "start_median_ns": None if usual is None else round(usual),
            "findings": [asdict(finding) for finding in self.findings()],
        }

    def _slow(self) -> Finding | None:
        """The finding on slow starts, if there were any."""
        # The first start includes CUPTI's own and is always long.
        later = self._starts_ns[1:]
        if not later:
            return None
        usual = median(later)
        slow = [start for start in later if start > max(SLOW_RATIO * usual, SLOW_NS)]
        if usual > SLOW_NS:
            slow = later
        if not slow:
            return None
        evidence = f"{len(slow)} of {len(later)} starts took up to {max(slow) / 1e9:.2f} s"
        return Finding(code="slow_session_start", evidence=evidence)

    def _growth(self) -> Finding | None:
        """The finding on growing memory, if it grows."""
        if self._settled_bytes is None or self._last_bytes is None:
            return None
        sessions = len(self._starts_ns) - SETTLED_AFTER
        grown = self._last_bytes - self._settled_bytes
        if sessions < SETTLED_AFTER or grown < sessions * GROWTH_BYTES_PER_SESSION:
            return None
        evidence = f"resident memory grew by {grown >> 20} MiB over {sessions} sessions"
        return Finding(code="memory_growth", evidence=evidence)
