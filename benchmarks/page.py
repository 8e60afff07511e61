"""One page of the figures of one machine: tables and plots, without scripts or other files.

    uv run python benchmarks/page.py benchmarks/results/HOST.json OUT.html [--plots FOLDER]
        [--overview q90]

``run_all.py`` writes it beside its JSON. ``--plots`` also writes each plot as an SVG file, and
``--overview`` prints the table of the README.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from plots import Spread, bars, lines, number_text

CSS = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:right}
td:first-child,th:first-child{text-align:left}tr{border-bottom:1px solid #8884}
svg{width:100%;max-width:45em;height:auto;display:block}
@media(max-width:40em){table{font-size:.85em}td,th{padding:.2em .4em}td:first-child{padding-left:0}}
@media(prefers-color-scheme:dark){body{background:#16181c;color:#ddd}}
"""
JOBS = {"rrc": "random crop to 224", "resize_crop": "resize to 256, crop to 224"}
PEERS = {
    "ffcv": "FFCV",
    "dali": "DALI",
    "pillow": "DataLoader, Pillow",
    "torchvision": "DataLoader, torchvision",
    "spdl": "SPDL",
}
"""Name of a peer -> how it is written."""


def spread(values: Sequence[float]) -> Spread:
    """Middle, smallest, largest."""
    return statistics.median(values), min(values), max(values)


def rates_of(photos: dict[str, Any], job: str) -> dict[str, Spread]:
    """Contestant, as it is written -> images a second of a job, the fastest first."""
    titles = {"yuv420 rrc": "slipstream, from planes", job: "slipstream"} | {
        f"{peer} {job}": title for peer, title in PEERS.items()
    }
    found = {
        titles[name]: spread(rates["images_per_second"]["epochs"])
        for name, rates in photos["contestants"].items()
        if name.split()[-1] == job and name in titles
    }
    return dict(sorted(found.items(), key=lambda row: -row[1][0]))


def plots(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and SVG of each plot that the results have figures for."""
    for photos in results.get("decode", {}).get("sets", ()):
        about = f"{photos['set']}, {photos['bits_per_pixel']} bits a pixel"
        for job, words in JOBS.items():
            if rates := rates_of(photos, job):
                title = f"Images a second, {words}: {about}"
                yield f"{photos['set']} {job}", bars(title, rates, "/s")
    if threads := results.get("threads"):
        series = {
            image_format: [
                (row["threads"], spread(row["images_per_second"]["epochs"]))
                for row in threads["rows"]
                if row["image_format"] == image_format
            ]
            for image_format in ("jpeg", "yuv420")
        }
        yield "threads", lines("Random crops to 224", "threads", "images a second", series)
    if growth := results.get("growth"):
        series = {
            words: [(row["samples"], spread(row[name])) for row in growth["rows"]]
            for words, name in (("open the cache", "open_ms"), ("order of an epoch", "order_ms"))
        }
        yield "growth", lines("Cost as data grows", "samples", "CPU milliseconds", series)


def overview(photos: dict[str, Any]) -> str:
    """The medians of one set of photos as a table in Markdown, for the README."""
    columns = [rates_of(photos, job) for job in JOBS]
    names = dict.fromkeys(name for column in columns for name in column)
    lines_ = [["", *JOBS.values()], ["---"] * (1 + len(JOBS))]
    for name in names:
        cells = [f"{column[name][0]:,.0f}" if name in column else "" for column in columns]
        lines_.append([name, *cells])
    return "\n".join(
        "|" + "|".join(f" {cell} ".replace("  ", " ") for cell in line) + "|" for line in lines_
    )


def tables(results: dict[str, Any]) -> Iterator[tuple[str, list[list[str]]]]:
    """Title and rows of each table; the first row is its head."""
    for name, found in results.items():
        for part in found.get("sets", [found]):
            title = " ".join((name, *([part["set"]] if "set" in part else [])))
            rates = part.get("contestants", {})
            if rates:
                yield (
                    f"{title}: images a second",
                    [["", "median", "smallest", "largest", "CPU ms an image"], *_rates(rates)],
                )
            if part.get("rows") and "ratio" in part["rows"][0]:
                yield (
                    f"{title}: ratios",
                    [["", "median", "smallest", "largest", "wanted"], *map(_ratio, part["rows"])],
                )
    if start := results.get("start"):
        rows = [
            [step, *map(number_text, spread(all_))]
            for step, all_ in start["seconds"]["wall"].items()
        ]
        yield "start: seconds", [["", "median", "smallest", "largest"], *rows]


def _rates(contestants: dict[str, Any]) -> Iterator[list[str]]:
    for name, found in contestants.items():
        cpu = found["cpu_seconds_per_image"]
        middle, low, high = spread(found["images_per_second"]["epochs"])
        yield [name, *map(number_text, (middle, low, high)), number_text(1e3 * cpu) if cpu else ""]


def _ratio(row: dict[str, Any]) -> list[str]:
    wanted = "" if row["target"] is None else str(row["target"])
    return [row["row"], *(f"{row['ratio'][key]:.2f}" for key in ("median", "low", "high")), wanted]


def _facts(machine: dict[str, Any]) -> Iterator[str]:
    for name, value in machine.items():
        if isinstance(value, dict):
            yield from _facts(value)
        elif name == "memory_bytes":
            yield f"memory {value / 1e9:.1f} GB"
        elif value is not None:
            yield f"{name.replace('_', ' ')} {value}"


def page(figures: dict[str, Any]) -> str:
    """The page as HTML."""
    results = figures["results"]
    machine = ", ".join(_facts(figures["machine"]))
    parts = [
        f"<p>{escape(machine)}; commit {escape(str(figures['commit']))}, {figures['time']}.</p>"
    ]
    parts.append(
        "<p>Bars and points are medians; whiskers go from the smallest to the largest.</p>"
    )
    parts += [svg for _, svg in plots(results)]
    for title, (head, *rows) in tables(results):
        lines_ = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
        lines_ += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
        body = "".join(f"<tr>{line}</tr>" for line in lines_)
        parts.append(f"<h2>{escape(title)}</h2><table>{body}</table>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>slipstream: figures</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{CSS}</style><h1>Figures of one machine</h1>{''.join(parts)}</html>\n"
    )


def main() -> None:
    """Parse the arguments and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write the plots there too")
    parser.add_argument("--overview", metavar="SET", help="print a set's medians as Markdown: q90")
    options = parser.parse_args()
    figures = json.loads(options.results.read_text(encoding="utf-8"))
    options.out.write_text(page(figures), encoding="utf-8")
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)
        for name, svg in plots(figures["results"]):
            path = options.plots / (re.sub(r"\W+", "-", name) + ".svg")
            path.write_text(svg, encoding="utf-8")
    for photos in figures["results"].get("decode", {}).get("sets", ()):
        if photos["set"] == options.overview:
            print(overview(photos))


if __name__ == "__main__":
    main()
