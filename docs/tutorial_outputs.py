"""Run docs/tutorial.ipynb and store it with its outputs, figures as pictures.

Code hosts show no plotly figures, and each would be stored with a library of megabytes. Needs what
the tests need (extra `test`) and Chromium.
"""

from __future__ import annotations

import base64
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import plotly.io
from playwright.sync_api import Page, sync_playwright

PAGE = Path(__file__).with_name("tutorial.ipynb")
PLOTLY = "application/vnd.plotly.v1+json"
WIDTH, HEIGHT = 860, 450


def ran(page: Path = PAGE) -> Any:
    """The notebook after it ran, in its own folder; notes of the run itself are left out."""
    notebook = nbformat.read(page, as_version=4)
    resources = {"metadata": {"path": str(page.parent)}}
    os.environ["PYTHONPATH"] = str(page.resolve().parents[1])
    nbclient.NotebookClient(
        notebook, timeout=120, resources=resources, record_timing=False
    ).execute()
    return notebook


def pictured(notebook: Any, page: Page) -> Any:
    """The same with each plotly figure as a PNG."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if PLOTLY in data:
                output["data"] = {"image/png": _png(dict(data[PLOTLY]), page)}
    notebook.metadata = {"language_info": {"name": "python"}}
    return notebook


def _png(figure: dict[str, Any], page: Page) -> str:
    shown = {name: figure[name] for name in ("data", "layout")}
    height = shown["layout"].get("height", HEIGHT)
    page.set_viewport_size({"width": WIDTH, "height": height})
    html = plotly.io.to_html(
        shown, default_width=f"{WIDTH}px", default_height=f"{height}px", validate=False
    )
    page.set_content(html, wait_until="load")
    picture = page.locator(".plotly-graph-div").screenshot()
    return base64.b64encode(picture).decode()


def main() -> None:
    """Write the page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        notebook = pictured(ran(), browser.new_page(device_scale_factor=1))
        browser.close()
    nbformat.validate(notebook)
    nbformat.write(notebook, PAGE)
    print(f"{PAGE.name}: {PAGE.stat().st_size // 1000} kB", file=sys.stderr)


if __name__ == "__main__":
    main()
