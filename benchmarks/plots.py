"""Small SVG plots without a library: bars with spread, and lines over a logarithmic axis.

Colours work on light and dark paper; text stays text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, LEFT, RIGHT = 720, 250, 130
BAR, GAP, TOP, BOTTOM = 18, 8, 34, 46
COLOURS = ("#3b7dd8", "#d9822b", "#3a9d6a", "#b5497e", "#7a6bc9", "#8a8f98")
STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:#333}.t{font-weight:600;font-size:13px}"
    ".a{stroke:#999;stroke-width:1}.s{stroke:#222;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}.s{stroke:#eee}}</style>"
)

Spread = tuple[float, float, float]
"""Middle, smallest, largest."""


def bars(title: str, rows: Mapping[str, Spread], unit: str, first_colour: str = "slip") -> str:
    """Horizontal bars from zero, with a whisker from the smallest to the largest.

    Parameters
    ----------
    title : str
    rows : mapping of str to (middle, smallest, largest)
    unit : str
        Stands behind each number.
    first_colour : str
        Rows whose names begin so are in the first colour, others in grey.
    """
    height = TOP + len(rows) * (BAR + GAP) + 8
    most = max(high for _, _, high in rows.values())
    scale = (WIDTH - LEFT - RIGHT) / most
    parts = [_text(8, 20, title, kind="t")]
    for number, (name, (middle, low, high)) in enumerate(rows.items()):
        y = TOP + number * (BAR + GAP)
        colour = COLOURS[0] if name.startswith(first_colour) else COLOURS[-1]
        parts += [
            _text(LEFT - 8, y + 13, name, anchor="end"),
            f'<rect x="{LEFT}" y="{y}" width="{middle * scale:.1f}" height="{BAR}" '
            f'fill="{colour}"/>',
            _line(LEFT + low * scale, y + BAR / 2, LEFT + high * scale, y + BAR / 2, "s"),
            _text(LEFT + high * scale + 8, y + 13, f"{number_text(middle)} {unit}"),
        ]
    return _svg(height, title, parts)


def lines(
    title: str, x_label: str, y_label: str, series: Mapping[str, Sequence[tuple[float, Spread]]]
) -> str:
    """Lines with whiskers; both axes are logarithmic.

    Parameters
    ----------
    title, x_label, y_label : str
    series : mapping of str to sequence of (x, (middle, smallest, largest))
    """
    height, left, right = 320, 70, 44
    points = [(x, y) for found in series.values() for x, ys in found for y in ys]
    x_range, y_range = ([f(p[axis] for p in points) for f in (min, max)] for axis in (0, 1))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + _share(x, *x_range) * (WIDTH - left - right),
            height - BOTTOM - _share(y, *y_range) * (height - BOTTOM - TOP - 24),
        )

    bottom = height - BOTTOM + 8
    parts = [
        _text(8, 20, f"{title} ({y_label})", kind="t"),
        _line(left, bottom, WIDTH - right, bottom, "a"),
        _text(WIDTH / 2, height - 8, x_label, anchor="middle"),
    ]
    for x in sorted({x for found in series.values() for x, _ in found}):
        parts.append(_text(place(x, y_range[0])[0], bottom + 16, number_text(x), anchor="middle"))
    for tick in _ticks(*y_range):
        y = place(x_range[0], tick)[1]
        parts += [
            _line(left - 4, y, left, y, "a"),
            _text(left - 8, y + 4, number_text(tick), "end"),
        ]
    for number, (name, found) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        middles = [place(x, ys[0]) for x, ys in found]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in middles)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, (_, low, high) in found:
            (at, bottom_of), (_, top_of) = place(x, low), place(x, high)
            parts.append(_line(at, bottom_of, at, top_of, "s"))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in middles]
        legend = left + 20 + 200 * number
        parts += [
            f'<rect x="{legend - 16}" y="31" width="10" height="10" fill="{colour}"/>',
            _text(legend, 40, name),
        ]
    return _svg(height, title, parts)


def number_text(value: float) -> str:
    """A number with three digits or more, as people write it."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _share(value: float, low: float, high: float) -> float:
    return math.log(value / low) / math.log(high / low) if high > low else 0.5


def _ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    wide = high / low > 100
    ticks = [step * 10.0**power for power in powers for step in ((1,) if wide else (1, 2, 5))]
    return [tick for tick in ticks if low <= tick <= high] or [low, high]


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">'
    )
    return "\n".join((head, STYLE, *parts, "</svg>\n"))
