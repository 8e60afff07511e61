"""``slipstream report``: a page that is whole, safe and readable, whatever the data set is."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections import Counter
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from slipstream_cache import SampleCache, build
from slipstream_cache.testing import MemorySource
from slipstream_loader import SlipstreamDataset
from slipstream_loader.cli import app
from slipstream_loader.cli.data_report import contents
from slipstream_loader.cli.data_report.contents import class_names, read_contents
from slipstream_loader.cli.tables import size
from slipstream_loader.errors import SourceError
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sample_runs import runs_of
from slipstream_loader.seek_points import write_seek_points

pytestmark = pytest.mark.timeout(240)

HOSTILE = "<script>alert('x')</script>\"><img src=http://x.invalid/ onerror=alert(1)>&amp;"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def jpeg(seed: int, size: tuple[int, int] = (40, 30)) -> bytes:
    """A small picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(file, "JPEG")
    return file.getvalue()


def cache_of(samples: list[dict[str, Any]], folder: Path) -> SampleCache:
    """The cache of some samples."""
    return prepare_cache(SlipstreamDataset(samples, cache_dir=folder))


class Page(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "img", "rect", "line", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line", "path"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def slipstream(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def report(cache: SampleCache, tmp_path: Path, *options: str) -> Page:
    """The page on a cache: balanced tags, no script, nothing from elsewhere."""
    out = tmp_path / "report.html"
    run = slipstream("report", cache.cache_dir, "--html", out, *options)
    assert run.exit_code == 0, run.output
    page = Page(out.read_bytes().decode())
    assert not page.open
    assert not page.tags.keys() & {"script", "link", "iframe", "object", "base", "a", "form"}
    for name, value in page.attributes:
        assert not name.startswith("on")
        assert name != "href"
        assert name != "src" or value.startswith("data:image/jpeg;base64,")
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in (
        page.attributes
    )
    return page


def test_the_page_tells_what_is_there(tmp_path: Path) -> None:
    """Counts, balance, sizes, codecs, engines, pictures, derived fields and integrity."""
    samples = [
        {"image": jpeg(i, (40 + 10 * i, 30)), "label": i % 3, "path": f"c{i % 3}/{i}.jpg"}
        for i in range(10)
    ]
    samples[7]["image"] = samples[7]["image"][:-60]
    cache = cache_of(samples, tmp_path)
    write_seek_points(cache, "image")
    page = report(cache, tmp_path, "--full")
    assert page.tags["img"] == 9
    for said in ("Nothing is wrong.", "every byte", "10\nsamples", "cannot be decoded"):
        assert said in page.text
    assert "3 values, 3 to 4 samples each, median 3" in page.text
    for row in ("0 c0\n4\n40.0 %", "2 c2\n3\n30.0 %", "native\n9\n90.0 %"):
        assert row in page.text
    assert "40 to 130, mean 85" in page.text
    assert any("seek" in text and "image" in text for text in page.texts)


def test_names_are_text(tmp_path: Path) -> None:
    """Tags, quotes and entities in values, paths and names of fields stay what they were."""
    samples = [
        {"image": jpeg(i), "label": f"{HOSTILE}{i % 2}", "path": f"{HOSTILE}/{HOSTILE}.jpg"}
        for i in range(4)
    ]
    samples = [{**sample, "it's & more": 1} for sample in samples]
    page = report(cache_of(samples, tmp_path), tmp_path)
    assert page.tags["img"] == 4
    assert f"{HOSTILE}0" in page.texts
    assert "it's & more" in page.texts
    assert any(name == "alt" and value.endswith("&amp;.jpg") for name, value in page.attributes)


def test_bytes_belong_to_one_field(tmp_path: Path) -> None:
    """Also where a field is named like a file of another one."""
    ids = range(4)
    samples = [{"x": i, "x.offsets": np.zeros(5000), "x.samples": np.zeros(10_000)} for i in ids]
    cache = cache_of(samples, tmp_path)
    files = {f: info.bytes for part in cache.manifest.parts for f, info in part.files.items()}
    page = report(cache, tmp_path)
    for name in ("x", "x.offsets", "x.samples"):
        cells = page.texts[page.texts.index(name) :]
        assert cells[2] == size(files[f"{name}.npy"])


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    """A source's name with bytes that are no UTF-8 is written with escapes."""
    folder = tmp_path / "photos\udcff" / "a"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"this file system has no such names: {error}")
    (folder / "1.jpg").write_bytes(jpeg(1))
    cache = prepare_cache(SlipstreamDataset(folder.parent, cache_dir=tmp_path))
    assert "photos\\udcff" in report(cache, tmp_path).text


def test_many_classes_are_a_profile_and_a_list(tmp_path: Path) -> None:
    """A thousand classes: one line, ten largest, ten smallest, and all in a list to open."""
    labels = [value for value in range(1000) for _ in range(1 + value % 3)]
    page = report(cache_of([{"label": value} for value in labels], tmp_path), tmp_path)
    assert page.tags["details"] == 1
    assert page.tags["li"] == 1000
    assert page.tags["path"] == 1
    assert page.tags["tr"] < 40
    assert "1,000 values, 1 to 3 samples each, median 2" in page.text


@pytest.mark.parametrize("num", [0, 1])
def test_few_samples(num: int, tmp_path: Path) -> None:
    """Of a cache with one sample, and of an empty one, there is a page too."""
    samples = [{"image": jpeg(1), "label": 4, "weight": 0.5}]
    cache = prepare_cache(SlipstreamDataset(samples[:1], cache_dir=tmp_path))
    if num == 0:
        cache = build(MemorySource([], dict(cache.fields)), tmp_path / "empty")
    page = report(cache, tmp_path)
    assert f"{num}\nsample" in page.text
    assert page.tags["img"] == num


def test_values_are_counted_across_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers however many samples are read at once."""
    samples = [
        {"image": jpeg(i, (20 + i, 50)), "label": 7 * i % 4, "name": "abc"[i % 3], "path": f"{i}"}
        for i in range(20)
    ]
    cache = cache_of(samples, tmp_path)
    whole = read_contents(cache)
    monkeypatch.setattr(contents, "runs_of", partial(runs_of, size=3))
    monkeypatch.setattr(contents, "_MAX_VALUES", 10)
    found = read_contents(cache)
    assert found.values["label"] == whole.values["label"]
    assert found.values["label"].counts == Counter(7 * i % 4 for i in range(20))
    assert found.values["label"].first == {0: 0, 3: 1, 2: 2, 1: 3}
    assert found.values["name"].counts == Counter("abc"[i % 3] for i in range(20))
    assert whole.values["path"].is_complete
    assert not found.values["path"].is_complete
    one, other = found.images["image"], whole.images["image"]
    assert np.array_equal(one.widths.counts, other.widths.counts)
    assert (one.widths.lowest, one.widths.highest, one.widths.mean) == (20, 39, 29.5)
    edges, counts = one.widths.occupied()
    assert edges[0] <= 20 < edges[1]
    assert edges[-2] <= 39 < edges[-1]
    assert counts.sum() == 20
    assert class_names(cache, found.values["label"])[3] == "3"


@pytest.mark.parametrize("file", ["image.samples.npy", "label.npy", "image.bin", "path.bin"])
def test_damaged_caches_have_a_page(file: str, tmp_path: Path) -> None:
    """It tells what is wrong, and what could not be read for that."""
    samples = [{"image": jpeg(i), "label": i % 2, "path": f"{i}.jpg"} for i in range(6)]
    cache = cache_of(samples, tmp_path)
    path = cache.cache_dir / "part-00000" / file
    path.write_bytes(path.read_bytes()[:-20])
    page = report(SampleCache.open(cache.cache_dir), tmp_path)
    assert "Nothing is wrong." not in page.text
    assert file in page.text


def test_what_is_no_data_set_is_told(tmp_path: Path) -> None:
    """There is an error, and no page."""
    run = slipstream("report", tmp_path, "--html", tmp_path / "out.html")
    assert isinstance(run.exception, SourceError)
    assert not (tmp_path / "out.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it(scheme: str, tmp_path: Path) -> None:
    """In the colours that the reader likes, with pictures, and no wider than the window."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"there is none of {', '.join(BROWSERS)}")
    samples = [{"image": jpeg(i), "label": i % 60, "path": f"{i}" * 90} for i in range(120)]
    report(cache_of(samples, tmp_path), tmp_path)
    page, picture = tmp_path / "report.html", tmp_path / "picture.png"
    wide = "<img id=probe src=x onerror=document.title=document.documentElement.scrollWidth>"
    text = re.sub("<meta http-equiv[^>]*>", "", page.read_text("utf-8"))
    (tmp_path / "probe.html").write_text(text.replace("</body>", f"{wide}</body>"), "utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=600,900"]
    command += ["--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"]
    shot = [*command, f"--screenshot={picture}", page.as_uri()]
    done = subprocess.run(shot, capture_output=True, text=True, timeout=100, check=False)
    assert picture.exists(), done.stderr
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels[2, 2].mean() > 128) == (scheme == "light")
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500
    probed = [*command, "--dump-dom", (tmp_path / "probe.html").as_uri()]
    dom = subprocess.run(probed, capture_output=True, text=True, timeout=100, check=True).stdout
    found = re.search(r"<title>(\d+)</title>", dom)
    assert found
    assert int(found[1]) <= 600
