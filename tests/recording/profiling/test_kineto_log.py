"""The profiler prints nothing of its own, whether Kineto was used before or not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.paths import REPOSITORY

pytest.importorskip("torch")
pytestmark = [pytest.mark.capture, pytest.mark.slow]

PROGRAM = """
import sys, torch
from torch.profiler import ProfilerActivity, profile
if "before" in sys.argv:
    with profile(activities=[ProfilerActivity.CPU]):
        pass
print("ours", file=sys.stderr, flush=True)
from trace_timing.recording.runs.profiler import open_session
session, _ = open_session("ranges")
for _ in range(2):
    session.start()
    torch.ones(3).sum()
    session.stop()
"""


@pytest.mark.parametrize("before", [(), ("before",)])
def test_sessions_print_no_line(before: tuple[str, ...]) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "KINETO_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *before],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr.partition("ours\n")[2] == ""
    assert done.stdout == ""
