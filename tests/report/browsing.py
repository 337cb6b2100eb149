"""Open a report's file in a real Chromium, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
#: Warning of the software renderer when pixels are read: about the driver, not the page.
DRIVER_REMARK = "GL Driver Message"
#: Resolves when the browser has nothing else to do.
#: A page that paints nothing more may never be called back, so after five seconds it is anyway.
IDLE = """() => new Promise((done) => {
  const idle = (call) => requestIdleCallback(call, {timeout: 5000});
  idle(() => idle(done));
})"""
#: Goes to a hash of the report; resolves once its page is painted.
OPEN = """([name, place]) => new Promise((done) => {
  const root = document.documentElement;
  new MutationObserver((_, observer) => {
    if (root.dataset.ready !== name) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(done));
  }).observe(root, {attributes: true});
  location.hash = place;
})"""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped if Playwright is not installed."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        path = str(CHROMIUM) if CHROMIUM.exists() else None
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


class Visit:
    """An open page, with the errors and warnings of its console."""

    def __init__(self, browser: Any, path: Path, **context: Any) -> None:
        self.context = browser.new_context(offline=True, **context)
        self.page = self.context.new_page()
        self.messages: list[str] = []
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.path = path

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and DRIVER_REMARK not in text:
            self.messages.append(text)

    def go(self, name: str) -> Any:
        self.page.goto(f"{self.path.as_uri()}#{name}")
        return self.ready(name.split("=")[0])

    def ready(self, name: str) -> Any:
        """Wait until a page is shown, and draw its figures below the first screen too."""
        self.page.wait_for_function(
            "name => document.documentElement.dataset.ready === name", arg=name, timeout=30_000
        )
        self.page.evaluate("n => drawPage(document.getElementById('page-' + n))", name)
        return self.page

    def idle(self) -> Any:
        """Open the overview and wait until plotly is prepared."""
        page = self.go("overview")
        page.wait_for_function(
            "document.documentElement.dataset.charts === 'ready'", timeout=30_000
        )
        return page

    def opening_seconds(self, place: str) -> float:
        """Processor time from following a link until its page is painted."""
        self.page.evaluate(IDLE)
        return processor_seconds(self.page, OPEN, [place.split("=")[0], place])


def processor_seconds(page: Any, script: str, argument: object = None) -> float:
    """Processor time of the page's thread while a script runs.

    Unlike wall time, it hardly depends on the machine's other load.
    """
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def used() -> float:
        """Processor seconds of the thread so far."""
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))

    before = used()
    page.evaluate(script, argument)
    taken = used() - before
    session.detach()
    return taken


def figures_of(page: Any, selector: str) -> list[dict[str, Any]]:
    """Traces of a drawn figure as plotly has them: type, meta, x and y."""
    traces: list[dict[str, Any]] = page.evaluate(
        "s => document.querySelector(s).data.map(t => "
        "({type: t.type, meta: t.meta, x: Array.from(t.x || []), y: Array.from(t.y || [])}))",
        selector,
    )
    return traces


def table_of(page: Any, selector: str) -> list[dict[str, str]]:
    """Rows of a shown table, as texts by column."""
    head = page.locator(f"{selector} thead th").all_inner_texts()
    return [
        dict(zip(head, row.locator("th,td").all_inner_texts(), strict=True))
        for row in page.locator(f"{selector} tbody tr").all()
    ]


def violations(page: Any) -> list[tuple[str, str, str]]:
    """Serious and critical accessibility faults of the page shown, by axe."""
    axe = pytest.importorskip("axe_playwright_python")
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text())
    result = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        (v["id"], v["nodes"][0]["html"][:120], v["nodes"][0]["failureSummary"][:200])
        for v in result["violations"]
        if v["impact"] in ("serious", "critical")
    ]
