"""Which skipped tests are no reason for worry, and the option that fails on any other.

With `--fail-on-unexpected-skip`, as `.ci/run` calls pytest, a run in which some test was skipped
for a reason that is not listed here fails, though every test passed. A dependency that could not
be installed, or a file that was moved, would otherwise look like success.
"""

from __future__ import annotations

import re

import pytest

#: Pattern of the whole reason → why a machine may lack it. The gate installs everything else.
EXPECTED_SKIPS = {
    r"needs an NVIDIA GPU": "the gate's machine has none",
    r"says something else on a GPU": "the gate's machine may have one",
    r"no recorded traces beside the checkout": "they are too large for the repository",
    r"no trace processor to be had: \w+": "perfetto downloads it when it is first used",
    r"not counted with this Python": "instructions were counted with some versions alone",
    r"other allocators are not affected": "the C library is not glibc",
    r"transformers [\w.]+ has no \w+": "a model family that came later or is gone",
    r"images cannot be prefilled in chunks before transformers 5\.18": "an older transformers",
    r"this transformers has no continuous batching": "an older transformers",
    r"no C compiler": "a library of its own is compiled to be called",
    r"could not import '(cosmic_ray|coverage)': .*": "of the extra for mutation testing alone",
    r"could not import 'datasets': .*": "no dependency: any iterable of samples will do",
}
OPTION = "--fail-on-unexpected-skip"


def is_expected(reason: str) -> bool:
    """Whether a test may be skipped for this reason, as pytest words it."""
    reason = reason.removeprefix("Skipped: ")
    return any(re.fullmatch(pattern, reason, re.DOTALL) for pattern in EXPECTED_SKIPS)


class UnexpectedSkips:
    """A pytest plugin: notes skips that are not expected, and fails the run over them."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of a test; an expected failure is reported as skipped too, and is none."""
        if not hasattr(report, "wasxfail"):
            self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Of a whole module that was skipped while it was imported."""
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = str(report.longrepr[2])
            if not is_expected(reason):
                self.found[report.nodeid] = reason

    # Last, so that what other plugins make of the exit status is seen.
    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn success into failure; another failure keeps its own status."""
        if self.found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name them, with what to do."""
        if not self.found:
            return
        terminalreporter.section("unexpected skips", red=True, bold=True)
        for test, reason in sorted(self.found.items()):
            terminalreporter.line(f"{test}: {reason}")
        terminalreporter.line("install what is missing, or list the reason in expected_skips.py")
