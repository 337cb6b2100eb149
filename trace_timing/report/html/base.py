"""Fill the templates of every page: styles, scripts, plotly, packed data, further sections."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_timing.atomic_write import write_whole
from trace_timing.report import findings
from trace_timing.report.html.glossary import GLOSSARY
from trace_timing.report.html.packing import columns, zipped
from trace_timing.report.model import Section
from trace_timing.report.palette import COLOURS, LABELS
from trace_timing.schema import TABLES

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
STYLES = ("style.css", "first_screen.css", "timeline.css")
#: In the order in which they run: each may use what an earlier one defines.
SCRIPTS = ("unpack.js", "tables.js", "timeline.js", "timeline_draw.js", "perfetto.js", "app.js")


def render(template: str, *, packed: Mapping[str, str], cdn: bool, **values: Any) -> str:
    """A whole page as text.

    Args:
        packed: data packed by packing.pack, by the name under which the page loads it.
        cdn: load plotly.js from its public CDN instead of including it.
        values: those that the template names: version, title, subtitle, pages, sections …
    """
    return (
        _environment()
        .get_template(template)
        .render(
            payloads=packed,
            plotly=None if cdn else packed_plotly(),
            cdn=plotly_cdn() if cdn else None,
            css="".join(map(_text, STYLES)),
            js="".join(map(_text, SCRIPTS)),
            glossary=GLOSSARY,
            colours=COLOURS,
            colours_json=json.dumps(COLOURS),
            definitions_json=json.dumps(_definitions()),
            labels=LABELS,
            **values,
        )
    )


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def write_page(html: str, path: Path) -> int:
    """Write a page atomically and return its size in bytes."""
    data = html.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
    return len(data)


def with_payloads(sections: Sequence[Section], payloads: dict[str, Any]) -> list[dict[str, Any]]:
    """Sections as the template reads them; their figures and tables are added to `payloads`."""
    return [_with_payloads(section, payloads) for section in sections]


def _with_payloads(section: Section, payloads: dict[str, Any]) -> dict[str, Any]:
    figures, tables = dict[str, str](), dict[str, str]()
    for i, (title, figure) in enumerate(section.figures.items()):
        figures[title] = f"{section.slug}-f{i}"
        payloads[f"figure-{figures[title]}"] = figure.to_plotly_json()
    for i, (title, table) in enumerate(section.tables.items()):
        tables[title] = f"{section.slug}-t{i}"
        payloads[tables[title]] = columns(table)
    return {
        "slug": section.slug,
        "title": section.title,
        "sentences": list(section.sentences),
        "figures": figures,
        "tables": tables,
        "screen": section.screen,
    }


def _environment() -> jinja2.Environment:
    """Jinja with the templates, their compiled forms and the filters for figures."""
    import jinja2

    from trace_timing.report.html.compiled_templates import CompiledTemplates

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        bytecode_cache=CompiledTemplates(TEMPLATES / "__pycache__"),
    )
    for name, filter_ in (("ms", findings.ms), ("percent", findings.percent), ("ratio", _ratio)):
        environment.filters[name] = _or_cannot_tell(filter_)
    return environment


def _or_cannot_tell(formatted: Callable[[float], str]) -> Callable[[float | None], str]:
    """The same format, with `cannot tell` for a figure that is not known."""
    return lambda value: (
        findings.CANNOT_TELL if value is None or value != value else formatted(value)
    )


def _ratio(value: float) -> str:
    return f"×{value:.2f}"


def _definitions() -> dict[str, str]:
    """Column → definition, for the headings of tables; the first table that has the column wins."""
    return {c.name: c.definition for table in reversed(TABLES.values()) for c in table}


def packed_plotly() -> str:
    """The installed plotly's plotly.js, as gzip in base64: 2 MB instead of 5."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(zipped(get_plotlyjs().encode())).decode()


def plotly_cdn() -> str:
    """Address of the installed plotly's plotly.js on its public CDN."""
    from plotly.offline import get_plotlyjs_version

    return f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"
