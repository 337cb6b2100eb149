"""What every page is made in: templates, look, scripts, plotly; pages that sections bring."""

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
#: In the order in which they run: each uses what those before it define.
SCRIPTS = ("unpack.js", "tables.js", "timeline.js", "timeline_draw.js", "perfetto.js", "app.js")


def render(template: str, *, packed: Mapping[str, str], cdn: bool, **words: Any) -> str:
    """A whole page as text.

    Args:
        packed: what packing.pack made, by the name under which the page loads it.
        cdn: load plotly.js from its public CDN instead of carrying it.
        words: what the template asks for: version, title, subtitle, pages, sections …
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
            **words,
        )
    )


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def write_page(html: str, path: Path) -> int:
    """Write a page and return its size in bytes; one that is there is replaced whole."""
    data = html.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
    return len(data)


def with_payloads(sections: Sequence[Section], payloads: dict[str, Any]) -> list[dict[str, Any]]:
    """Sections as the template reads them; their figures and tables join the payloads."""
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


def _or_cannot_tell(say: Callable[[float], str]) -> Callable[[float | None], str]:
    """A cell is never empty where its figure is not known."""
    return lambda value: findings.CANNOT_TELL if value is None or value != value else say(value)


def _ratio(value: float) -> str:
    return f"×{value:.2f}"


def _definitions() -> dict[str, str]:
    """Column → definition, for the headings of tables; of a name in several tables, the first."""
    return {c.name: c.definition for table in reversed(TABLES.values()) for c in table}


def packed_plotly() -> str:
    """The plotly.js that this plotly brings, gzip in base64: 2 MB where the text is 5."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(zipped(get_plotlyjs().encode())).decode()


def plotly_cdn() -> str:
    """Address of the same plotly.js on its public CDN."""
    from plotly.offline import get_plotlyjs_version

    return f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"
