"""The plots of the documentation are made of the figures in git, and say what these say."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "figures" / "figures.json"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that makes pages of figures."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import page

    return page


@pytest.fixture
def plots(page: ModuleType) -> ModuleType:
    """The module that draws."""
    import plots

    return plots


def test_the_plots_are_those_of_the_figures(page: ModuleType) -> None:
    """If not: ``python benchmarks/page.py docs/figures/figures.json OUT --plots docs/figures``."""
    drawn = dict(page.plots(json.loads(FIGURES.read_text(encoding="utf-8"))["results"]))
    assert drawn
    for name, svg in drawn.items():
        path = FIGURES.with_name(re.sub(r"\W+", "-", name) + ".svg")
        assert path.read_text(encoding="utf-8") == svg, path.name
    assert {path.stem for path in FIGURES.parent.glob("*.svg")} == {
        re.sub(r"\W+", "-", name) for name in drawn
    }


def test_the_table_of_the_readme_is_that_of_the_figures(page: ModuleType) -> None:
    """If not: take what ``python benchmarks/page.py docs/figures/figures.json OUT --overview q90``
    prints."""
    sets = json.loads(FIGURES.read_text(encoding="utf-8"))["results"]["decode"]["sets"]
    (q90,) = (photos for photos in sets if photos["set"] == "q90")
    table = page.overview(q90)
    assert "| FFCV | " in table
    assert f"\n\n{table}\n\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def contestant(*rates: float) -> dict[str, Any]:
    """What ``rounds.describe`` gives."""
    return {"images_per_second": {"epochs": list(rates)}, "cpu_seconds_per_image": 0.001}


def test_the_page_has_every_figure(page: ModuleType) -> None:
    """Tables and plots of all benchmarks that were run; nothing is loaded from elsewhere."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    ratio = {"median": 4.5, "low": 4.25, "high": 5.0}
    decode = {
        "set": "q90",
        "bits_per_pixel": 2.5,
        "contestants": {
            "rrc": contestant(90, 110),
            "yuv420 rrc": contestant(200),
            "ffcv rrc": contestant(20),
        },
        "rows": [{"row": "RRC / ffcv", "target": 5.0, "ratio": ratio}],
    }
    threads = [{"image_format": kind, "threads": 1, **contestant(5)} for kind in ("jpeg", "yuv420")]
    figures["results"] |= {"decode": {"sets": [decode]}, "threads": {"rows": threads}}
    html = page.page(figures)
    assert "<td>rrc</td><td>100</td><td>90</td><td>110</td><td>1</td>" in html
    assert "<td>RRC / ffcv</td><td>4.50</td><td>4.25</td><td>5.00</td><td>5.0</td>" in html
    assert html.count("<svg") == 3
    assert "slipstream, from planes" in html
    assert not re.search(r"<script|<link|src=|href=|url\(", html)


def test_names_are_text(page: ModuleType, plots: ModuleType) -> None:
    """A name with markup stays text, in plots and in tables."""
    svg = plots.bars("<b>", {"<i>&": (1.0, 0.5, 2.0)}, "/s")
    assert "<i>&" in [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    results = {"raw_io": {"contestants": {"<script>": contestant(1, 3)}}}
    figures = {"machine": {}, "commit": "x", "time": "y", "results": results}
    assert "<td>&lt;script&gt;</td><td>2</td><td>1</td><td>3</td>" in page.page(figures)


def test_bars_are_as_long_as_their_numbers(plots: ModuleType) -> None:
    """From zero, so that lengths compare as the numbers do; whiskers end at the extremes."""
    svg = ElementTree.fromstring(plots.bars("t", {"a": (8, 6, 10), "b": (2, 1, 4)}, ""))
    first, second = (float(bar.get("width", "")) for bar in svg.iter(f"{SVG}rect"))
    assert first == pytest.approx(4 * second, rel=0.01)
    whiskers = [[float(line.get(x, "")) for x in ("x1", "x2")] for line in svg.iter(f"{SVG}line")]
    zero = plots.LEFT
    assert whiskers[0][1] - zero == pytest.approx(10 / 8 * first, rel=0.01)
    assert whiskers[1][0] - zero == pytest.approx(1 / 2 * second, rel=0.02)


def test_lines_have_logarithmic_axes(plots: ModuleType) -> None:
    """Powers of ten lie at equal distances, along both axes."""
    found = [(10.0**n, (10.0**n, 10.0**n, 10.0**n)) for n in range(4)]
    svg = ElementTree.fromstring(plots.lines("t", "x", "y", {"a": found}))
    points = [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in svg.iter(f"{SVG}circle")]
    steps = [(x2 - x1, y1 - y2) for (x1, y1), (x2, y2) in itertools.pairwise(points)]
    for dx, dy in steps:
        assert (dx, dy) == pytest.approx(steps[0], abs=0.2)
        assert dx > 0
        assert dy > 0
