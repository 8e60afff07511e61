"""Charts as inline SVG and HTML, in the colours of the page's style sheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Final

import numpy as np

from slipstream_loader.cli.data_report.contents import Histogram

_WIDTH: Final = 480
_WIDE: Final = 1000
_HEIGHT: Final = 120
_AXIS: Final = 18
_NUM_LABELS: Final = 5


def bars(rows: Sequence[tuple[str, int]], total: int) -> str:
    """A table with a bar for each row: name, number, share of a total."""
    largest = max((number for _, number in rows), default=0)
    lines = []
    for name, number in rows:
        share = f"{100 * number / max(1, total):.1f} %"
        width = f"{100 * number / max(1, largest):.2f}%"
        lines.append(
            f'<tr><th scope="row">{escape(name)}</th><td>{number:,}</td><td>{share}</td>'
            f'<td class="track"><span class="bar" style="width:{width}"></span></td></tr>'
        )
    return f'<table class="bars">{"".join(lines)}</table>'


def histogram(found: Histogram, title: str, written: Callable[[float], str]) -> str:
    """A histogram with its smallest, mean and largest value; the axis is logarithmic."""
    if not found.num_values:
        return f"<figure><figcaption>{escape(title)}: no values</figcaption></figure>"
    edges, counts = found.occupied()
    step, parts = _WIDTH / len(counts), []
    for number, count in enumerate(counts.tolist()):
        if count:
            height = max(1.0, count / counts.max() * _HEIGHT)
            text = f"{written(edges[number])} to {written(edges[number + 1])}: {count:,}"
            parts.append(
                f'<rect x="{number * step:.2f}" y="{_HEIGHT - height:.2f}" '
                f'width="{max(0.5, step - min(1.0, step / 4)):.2f}" height="{height:.2f}">'
                f"<title>{escape(text)}</title></rect>"
            )
    labels = _axis_labels([written(edge) for edge in edges], _WIDTH)
    facts = f"{written(found.lowest)} to {written(found.highest)}, mean {written(found.mean)}"
    return _figure(title, facts, "".join(parts) + labels, _WIDTH)


def profile(counts: Sequence[int], title: str, facts: str) -> str:
    """The sizes of many classes from the largest to the smallest, as one step line."""
    ordered = np.sort(np.asarray(counts, np.int64))[::-1]
    step, scale = _WIDE / len(ordered), _HEIGHT / max(1, int(ordered[0]))
    places = [f"M0 {_HEIGHT}"]
    for number, count in enumerate(ordered.tolist()):
        places.append(f"V{_HEIGHT - count * scale:.2f}H{(number + 1) * step:.2f}")
    labels = _axis_labels([f"{n:,}" for n in range(len(ordered) + 1)], _WIDE)
    return _figure(title, facts, f'<path d="{"".join(places)}V{_HEIGHT}Z"/>' + labels, _WIDE)


def _figure(title: str, facts: str, drawing: str, width: int) -> str:
    label = escape(f"{title}: {facts}")
    return (
        f"<figure><figcaption><b>{escape(title)}</b> {escape(facts)}</figcaption>"
        f'<svg viewBox="0 0 {width} {_HEIGHT + _AXIS}" role="img" aria-label="{label}">'
        f'<line x1="0" x2="{width}" y1="{_HEIGHT}" y2="{_HEIGHT}"/>{drawing}</svg></figure>'
    )


def _axis_labels(edges: Sequence[str], width: int) -> str:
    """Some of the edges' names below the axis, the first and the last among them."""
    places = np.unique(np.linspace(0, len(edges) - 1, _NUM_LABELS).round().astype(int))
    parts = []
    for place in places.tolist():
        anchor = "start" if place == 0 else "end" if place == len(edges) - 1 else "middle"
        x = place / max(1, len(edges) - 1) * width
        parts.append(
            f'<text x="{x:.1f}" y="{_HEIGHT + 13}" text-anchor="{anchor}">'
            f"{escape(edges[place])}</text>"
        )
    return "".join(parts)
