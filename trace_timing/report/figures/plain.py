"""A figure as plotly.js takes it, built without plotly's Python objects.

plotly's objects check every property against a schema: importing and filling them takes a third of
the time of a report. Here properties are stored unchecked. `Figure.plotly` makes the checked object
for notebooks, and for the tests, which check every figure of the report with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

Properties = dict[str, Any]


class Figure:
    """Traces and layout, with the few methods of plotly's Figure that the report uses.

    Properties are nested dicts: `marker={"color": …}`, without plotly's `marker_color`.
    """

    def __init__(self, data: Iterable[Properties] = ()) -> None:
        self.data = list(data)
        self.layout: Properties = {}

    def add_bar(self, **properties: Any) -> Figure:
        """Add bars."""
        return self._add("bar", properties)

    def add_box(self, **properties: Any) -> Figure:
        """Add boxes."""
        return self._add("box", properties)

    def add_scatter(self, **properties: Any) -> Figure:
        """Add points or a line."""
        return self._add("scatter", properties)

    def update_layout(self, **properties: Any) -> Figure:
        """Set properties of the layout; nested properties that are not given keep their values."""
        _merge(self.layout, properties)
        return self

    def update_xaxes(self, **properties: Any) -> Figure:
        """Set properties of the x axis, as `update_layout` does."""
        return self.update_layout(xaxis=properties)

    def update_yaxes(self, **properties: Any) -> Figure:
        """Set properties of the y axis, as `update_layout` does."""
        return self.update_layout(yaxis=properties)

    def to_plotly_json(self) -> Properties:
        """Plain values and numpy arrays, by `data` and `layout`."""
        return {"data": self.data, "layout": self.layout}

    def plotly(self) -> go.Figure:
        """This figure as plotly's own Figure, checked.

        Raises:
            ValueError: plotly knows no such property, or no such value of it.
        """
        import plotly.graph_objects as go

        figure = go.Figure(self.data)
        figure.update_layout(template="none", **self.layout)
        return figure

    def _add(self, kind: str, properties: Properties) -> Figure:
        self.data.append({"type": kind, **{k: _array(v) for k, v in properties.items()}})
        return self


def _array(value: Any) -> Any:
    """A pandas column as a numpy array; other values unchanged."""
    return value.to_numpy() if hasattr(value, "to_numpy") else value


def _merge(into: Properties, properties: Mapping[str, Any]) -> None:
    """Set properties in nested dicts, in place."""
    for name, value in properties.items():
        if isinstance(value, Mapping):
            _merge(into.setdefault(name, {}), value)
        else:
            into[name] = value
