"""Screenshots of every page of the report: three inputs, three widths, both themes.

    python -m benchmarks.screenshots -o DIR [--inputs samples one-token many] [--widths 1440 …]

Inputs: the capture in sample_traces/; a capture of tiny-llava on the CPU with one output token a
sample (it needs torch); 2,000 samples, the capture in sample_traces/ over and over under other ids.
Needs Playwright and a Chromium. Prints what each browser console said, and exits with 1 if it said
anything or a page is wider than its window.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.sample_inputs import write_inputs
from benchmarks.scale import CAPTURE, replicate
from tests.report.browsing import Visit, chromium

WIDTHS = (1440, 820, 390)
THEMES = ("light", "dark")
HEIGHTS = {1440: 900, 820: 1100, 390: 844}
MANY = 2_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the reports, then the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--inputs", nargs="+", choices=INPUTS, default=list(INPUTS))
    parser.add_argument("--widths", nargs="+", type=int, default=list(WIDTHS))
    parser.add_argument("--themes", nargs="+", choices=THEMES, default=list(THEMES))
    parser.add_argument("--samples", type=int, default=MANY, help="of the input `many`")
    options = parser.parse_args(arguments)
    faults = []
    for name in options.inputs:
        with tempfile.TemporaryDirectory() as folder:
            report = analyzed(INPUTS[name](Path(folder), options.samples), Path(folder) / "out")
            faults += pictures(report, options.output / name, options.widths, options.themes)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


def of_samples(folder: Path, count: int) -> Path:
    """The capture that comes with the project."""
    return CAPTURE


def of_one_token(folder: Path, count: int) -> Path:
    """A capture on the CPU, one output token a sample."""
    inputs = folder / "inputs"
    write_inputs(inputs, max_new_tokens=1)
    command = ["capture", "--model", "tiny-llava", "--inputs", str(inputs / "samples.jsonl")]
    ran([*command, "--device", "cpu", "--control", "3", "-o", str(folder / "traces")])
    return folder / "traces"


def of_many(folder: Path, count: int) -> Path:
    """A capture of so many samples."""
    replicate(folder / "traces", count)
    return folder / "traces"


INPUTS: dict[str, Callable[[Path, int], Path]] = {
    "samples": of_samples,
    "one-token": of_one_token,
    "many": of_many,
}


def ran(arguments: Sequence[str], good: Sequence[int] = (0,)) -> None:
    """Run a trace-timing command."""
    done = subprocess.run(
        [sys.executable, "-m", "trace_timing", *arguments], capture_output=True, check=False
    )
    if done.returncode not in good:
        raise SystemExit(done.stderr.decode())


def analyzed(traces: Path, output: Path) -> Path:
    """Analyse, and give the report's path."""
    # 1: done, with something to say about the traces.
    ran(["analyze", str(traces), "-o", str(output)], good=(0, 1))
    return output / "report.html"


def pictures(
    report: Path, output: Path, widths: Sequence[int], themes: Sequence[str]
) -> Iterator[str]:
    """Write NAME-WIDTH-THEME.png of every page; give what is wrong with any."""
    output.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for width in widths:
            for theme in themes:
                size = {"width": width, "height": HEIGHTS.get(width, 900)}
                visit = Visit(browser, report, viewport=size, color_scheme=theme)
                for name in page_names(visit):
                    page = visit.go(name)
                    wide = page.evaluate("document.documentElement.scrollWidth")
                    if wide > width:
                        yield f"{output.name}: {name} is {wide} wide at {width}"
                    page.screenshot(path=output / f"{name}-{width}-{theme}.png")
                yield from (
                    f"{output.name}, {width}, {theme}: {message}" for message in visit.messages
                )
                visit.context.close()


def page_names(visit: Visit) -> list[str]:
    """The pages that a report has."""
    names = visit.go("overview").evaluate(
        "JSON.stringify([...document.querySelectorAll('nav a')].map((a) => a.dataset.page))"
    )
    found: list[str] = json.loads(names)
    return found


if __name__ == "__main__":
    sys.exit(main())
