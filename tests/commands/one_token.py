"""A real trace cut to what a run of one output token leaves: ranges of decode renamed away."""

from __future__ import annotations

import gzip
import re
from pathlib import Path


def without_decode(trace: Path, out: Path) -> Path:
    """`trace` with its decode ranges under a name that means nothing, as `out`."""
    text = gzip.decompress(trace.read_bytes())
    out.write_bytes(gzip.compress(re.sub(rb'"decode\[(\d+)\]"', rb'"later \1"', text), 1))
    return out
