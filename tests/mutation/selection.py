"""Which tests run a line: one run of the unchanged tests under coverage, with a context a test."""

from __future__ import annotations

import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coverage import CoverageData

from tests.mutation.mutants import Mutant
from tests.mutation.trial import QUICK

_TIMES, _LINES = "mutation-junit.xml", ".coverage"
_SETTINGS = "[run]\nsource = trace_timing\nrelative_files = true\n"


class BaselineError(Exception):
    """The unchanged tests do not pass, so a mutant's failing test would say nothing."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Tests by module and line, and how long each took."""

    #: Module → line → tests; line 0 has the tests that run any line in a function of the module.
    covering: dict[str, dict[int, frozenset[str]]]
    seconds: dict[str, float]

    def stages(self, mutant: Mutant, budget: float) -> list[list[str]]:
        """Tests of a mutant, in the order in which to try them; each list is one call of pytest.

        Of the tests that run its function (outside a function: any of the module's), first those
        whose folder is named as the module's is, then the others; in each the quick ones first.

        Args:
            budget: seconds of tests, as measured without a mutant; tests beyond are left out.
        """
        lines = self.covering.get(mutant.module, {})
        wanted = range(mutant.first_line, mutant.last_line + 1) if mutant.in_function else (0,)
        tests = frozenset().union(*(lines[line] for line in lines if line in wanted))
        folder = f"tests/{Path(mutant.module).parent.relative_to('trace_timing')}/"
        near = {test for test in tests if test.startswith(folder)}
        ordered = [self._in_order(near, mutant), self._in_order(tests - near, mutant)]
        stages = []
        for stage in ordered:
            kept = []
            for test in stage:
                budget -= self.seconds.get(test, 0)
                if budget > 0:
                    kept.append(test)
            stages.append(kept)
        return [stage for stage in stages if stage]

    def _in_order(self, tests: set[str] | frozenset[str], mutant: Mutant) -> list[str]:
        named = f"/test_{Path(mutant.module).stem}.py"
        return sorted(tests, key=lambda test: (named not in test, self.seconds.get(test, 0), test))


def measure(copy: Path, results: Path, tests: Sequence[str]) -> None:
    """Run the unchanged tests in a copy of the repository; `results` gets what `read` reads.

    Raises:
        BaselineError: a test failed.
    """
    (copy / "mutation-coverage.ini").write_text(_SETTINGS)
    arguments = [*tests, "-m", QUICK, "-p", "no:cacheprovider", f"--junit-xml={_TIMES}"]
    arguments += ["-o", "junit_family=xunit1", "--hypothesis-seed=0", "--cov", "--cov-context=test"]
    arguments += ["--cov-config=mutation-coverage.ini", "--cov-report="]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=copy, capture_output=True, text=True
    )
    if done.returncode:
        output = done.stdout[-4000:] + done.stderr[-2000:]
        raise BaselineError(f"the unchanged tests fail:\n{output}")
    results.mkdir(parents=True, exist_ok=True)
    for name in (_TIMES, _LINES):
        shutil.copy(copy / name, results / name)


def read(results: Path) -> Selection:
    """What `measure` found."""
    data = CoverageData(str(results / _LINES))
    data.read()
    return Selection(covering=_covering(data), seconds=_seconds(results / _TIMES))


def _covering(data: CoverageData) -> dict[str, dict[int, frozenset[str]]]:
    found: dict[str, dict[int, frozenset[str]]] = {}
    for file in data.measured_files():
        lines = defaultdict(set)
        for line, contexts in data.contexts_by_lineno(file).items():
            # The empty context: while modules were imported, before any test.
            tests = {context.rsplit("|", 1)[0] for context in contexts if context}
            lines[line] |= tests
            lines[0] |= tests
        found[file] = {line: frozenset(tests) for line, tests in lines.items()}
    return found


def _seconds(report: Path) -> dict[str, float]:
    seconds = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        if case.find("skipped") is None:
            file, name = case.attrib["file"], case.attrib["name"]
            module = file.removesuffix(".py").replace("/", ".")
            classes = case.attrib["classname"].removeprefix(module).strip(".").split(".")
            test = "::".join([file, *filter(None, classes), name])
            seconds[test] = float(case.attrib["time"])
    return seconds
