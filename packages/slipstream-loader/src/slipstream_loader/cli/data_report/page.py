"""The page itself: HTML without scripts, with its style, pictures and charts inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import CacheError, Report, SampleCache
from slipstream_cache.derived import DERIVED_DIRECTORY
from slipstream_cache.field_types import field_files
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_loader.cli.data_report import charts
from slipstream_loader.cli.data_report.contents import (
    Contents,
    ImageContents,
    ValueCounts,
    class_names,
    read_contents,
)
from slipstream_loader.cli.data_report.thumbnails import Thumbnail, thumbnails
from slipstream_loader.cli.facts import image_facts
from slipstream_loader.cli.tables import count, kind_of, size

_MAX_PROBLEMS: Final = 50
_MAX_BARS: Final = 40
"""Classes that get a bar each; of more, the largest and the smallest do."""
_EXTREMES: Final = 10
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_DRAWN: Final = ("mean pixels", "bits per pixel")
"""Facts that the histograms tell better."""
_STYLE: Final = Path(__file__).with_name("page.css")


def page_of(cache: SampleCache, integrity: Report, level: str) -> str:
    """The page on a cache.

    Parameters
    ----------
    cache : SampleCache
    integrity : Report
        What ``verify`` found.
    level : str
        How it looked: "quick" or "full".

    Returns
    -------
    str
        HTML. Where a part of the cache cannot be read, the page says so.
    """
    title = escape(cache.manifest.source.uri.rstrip("/").rpartition("/")[2] or cache.cache_dir.name)
    sections = [_head(cache), _integrity(integrity, level), _fields(cache)]
    try:
        contents = read_contents(cache)
    except CacheError as error:
        sections.append(_unreadable("Contents", error))
    else:
        sections += [
            _section(name, _image_field, cache, name, contents) for name in contents.images
        ]
        sections += [
            _section(f"Balance of {name}", _balance, cache, counted)
            for name, counted in contents.values.items()
            if counted.is_complete and 0 < len(counted.counts) < len(cache)
        ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>\n{_STYLE.read_text('utf-8')}</style></head>\n"
        f"<body>\n{''.join(part + chr(10) for part in sections)}{_foot()}</body></html>\n"
    )


def _section(title: str, make: Callable[..., str], *arguments: Any) -> str:
    try:
        return f"<section><h2>{escape(title)}</h2>{make(*arguments)}</section>"
    except CacheError as error:
        return _unreadable(title, error)


def _unreadable(title: str, error: CacheError) -> str:
    text = f'<p class="bad">This cannot be read: {escape(str(error))}</p>'
    return f"<section><h2>{escape(title)}</h2>{text}</section>"


def _head(cache: SampleCache) -> str:
    manifest = cache.manifest
    counted = [(len(cache), "sample"), (len(cache.fields), "field"), (len(manifest.parts), "part")]
    tiles = [count(number, noun).split(" ") for number, noun in counted]
    tiles.append(size(manifest.num_bytes).split(" "))
    shown = "".join(f'<div class="tile"><b>{value}</b>{name}</div>' for value, name in tiles)
    uri, kind = escape(manifest.source.uri), escape(manifest.source.kind)
    return (
        f'<header><h1>{uri}</h1><p class="quiet">{kind}, cache {escape(manifest.key)} in '
        f'{escape(str(cache.cache_dir))}</p><div class="tiles">{shown}</div></header>'
    )


def _integrity(found: Report, level: str) -> str:
    looked = f"{count(found.num_files, 'file')}, {size(found.num_bytes)}"
    how = {"quick": "presence and sizes", "full": "every byte"}[level]
    if found.ok:
        verdict = f'<p><b class="good">Nothing is wrong.</b> {looked}: {how} looked at.</p>'
    else:
        verdict = f'<p><b class="bad">{count(len(found.problems), "problem")}.</b> {looked}.</p>'
    lines = [f'<li class="bad">{escape(str(one))}</li>' for one in found.problems[:_MAX_PROBLEMS]]
    if len(found.problems) > _MAX_PROBLEMS:
        lines.append(f"<li>... and {len(found.problems) - _MAX_PROBLEMS:,} more</li>")
    lines += [f"<li>{escape(note)}</li>" for note in found.notes[:_MAX_PROBLEMS]]
    shown = f"<ul>{''.join(lines)}</ul>" if lines else ""
    return f"<section><h2>Integrity</h2>{verdict}{shown}</section>"


def _fields(cache: SampleCache) -> str:
    owner = {file: name for name, spec in cache.fields.items() for file in field_files(name, spec)}
    stored = dict.fromkeys(cache.fields, 0)
    for part in cache.manifest.parts:
        for file, info in part.files.items():
            if file in owner:
                stored[owner[file]] += info.bytes
    rows = [
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(kind_of(spec))}</td>'
        f"<td>{size(stored[name])}</td></tr>"
        for name, spec in cache.fields.items()
    ]
    rows += [
        f'<tr><th scope="row">{escape(name)}</th><td>derived</td><td>{size(num_bytes)}</td></tr>'
        for name, num_bytes in _derived(cache)
    ]
    head = "<thead><tr><th>field</th><th>kind</th><th>bytes</th></tr></thead>"
    return f"<section><h2>Fields</h2><table>{head}<tbody>{''.join(rows)}</tbody></table></section>"


def _derived(cache: SampleCache) -> Iterator[tuple[str, int]]:
    """What was derived from the fields: names, and bytes on the disk."""
    folder = cache.cache_dir / DERIVED_DIRECTORY
    for directory in sorted(folder.iterdir()) if folder.is_dir() else ():
        files = [path for path in directory.rglob("*") if path.is_file()]
        if (directory / MANIFEST_NAME).is_file():
            yield directory.name, sum(path.stat().st_size for path in files)


def _image_field(cache: SampleCache, name: str, contents: Contents) -> str:
    parts = [f'<div class="sheet">{"".join(map(_framed, thumbnails(cache, name)))}</div>']
    parts.append(_histograms(contents.images[name]))
    words = []
    for title, value in image_facts(cache, name).items():
        if isinstance(value, dict):
            rows = [(str(key), int(number)) for key, number in value.items()]
            total = sum(number for _, number in rows)
            parts.append(f"<h3>{escape(title)}</h3>{charts.bars(rows, total)}")
        elif title not in _DRAWN:
            text = f"{value:,}" if isinstance(value, int) else str(value)
            words.append(f'<tr><th scope="row">{escape(title)}</th><td>{escape(text)}</td></tr>')
    return "".join(parts) + f"<h3>for decoding</h3><table>{''.join(words)}</table>"


def _framed(shown: Thumbnail) -> str:
    caption = escape(shown.caption)
    if shown.data_uri is None:
        inside = f'<span title="{escape(shown.problem)}">cannot be decoded</span>'
    else:
        inside = f'<img src="{shown.data_uri}" alt="{caption}" loading="lazy">'
    return (
        f'<figure><div class="frame">{inside}</div>'
        f'<figcaption title="{caption}">{caption}</figcaption></figure>'
    )


def _histograms(found: ImageContents) -> str:
    pixels, bits = (lambda value: f"{value:,.0f}"), (lambda value: f"{value:.3g}")
    drawn = [
        charts.histogram(found.widths, "Width, pixels", pixels),
        charts.histogram(found.heights, "Height, pixels", pixels),
        charts.histogram(found.num_bytes, "Size as stored", size),
        charts.histogram(found.bits_per_pixel, "Bits per pixel", bits),
    ]
    return f'<div class="charts">{"".join(drawn)}</div>'


def _range(numbers: NDArray[np.int64]) -> str:
    """How many samples the values have; ``numbers`` is sorted, the largest first."""
    if numbers[0] == numbers[-1]:
        return f"{numbers[0]:,} samples each"
    median = f"median {np.median(numbers):,.0f}"
    return f"{numbers[-1]:,} to {numbers[0]:,} samples each, {median}"


def _balance(cache: SampleCache, counted: ValueCounts) -> str:
    names = class_names(cache, counted)
    ordered = counted.counts.most_common()
    numbers = np.array([number for _, number in ordered])
    shares = numbers / numbers.sum()
    effective = float(np.exp(-(shares * np.log(shares)).sum()))
    facts = (
        f"{count(len(ordered), 'value')}, {_range(numbers)}; "
        f"the entropy of {effective:,.1f} equal ones"
    )
    rows = [(names[value], number) for value, number in ordered]
    total = int(numbers.sum())
    if len(rows) <= _MAX_BARS:
        return f'<p class="quiet">{escape(facts)}</p>' + charts.bars(rows, total)
    listed = "".join(
        f"<li><span>{escape(name)}</span><span>{number:,}</span></li>" for name, number in rows
    )
    every = f'<summary>All {len(rows):,}</summary><ul class="classes">{listed}</ul>'
    return (
        charts.profile([number for _, number in rows], "Samples of each, largest first", facts)
        + f"<h3>Largest</h3>{charts.bars(rows[:_EXTREMES], total)}"
        + f"<h3>Smallest</h3>{charts.bars(rows[-_EXTREMES:], total)}"
        + f"<details>{every}</details>"
    )


def _foot() -> str:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return f"<footer>Written by slipstream report, {now}.</footer>"
