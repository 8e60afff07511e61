"""The ``slipstream`` command, as a user runs it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipstream_cache import FieldSpec, build
from slipstream_cache.testing import MemorySource
from slipstream_loader import SlipstreamDataset, named_pipelines
from slipstream_loader.cli import main
from slipstream_loader.sample_images import write_sample_folder

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small image folder: three classes of four images."""
    directory = tmp_path_factory.mktemp("images") / "photos"
    write_sample_folder(directory, num_classes=3, images_per_class=4, seed=0)
    return directory


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Ended]


@pytest.fixture
def slipstream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs the command in ``tmp_path``, where its caches go too; in this process, to save time."""

    def run(*arguments: object) -> Ended:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["slipstream", *map(str, arguments)])
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        return Ended(code or 0, *capsys.readouterr())

    return run


def script(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed script in a process of its own, as a user does."""
    path = shutil.which("slipstream", path=str(Path(sys.executable).parent))
    assert path, "the slipstream script is not installed"
    return subprocess.run(
        [path, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_demo_shows_the_main_job(folder: Path, tmp_path: Path) -> None:
    """A table with a rate for each pipeline, and a contact sheet; nothing else is left behind."""
    run = script("demo", "--source", folder, "--out", "sheet.png", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "random resized crops of 12 images: sheet.png"
    for word in ("12 images", "bits per pixel", "raw", "center_crop", "rrc"):
        assert word in run.stdout
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert np.asarray(sheet.convert("RGB")).std() > 20
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_build_info_show_and_bench_work_together(
    folder: Path, tmp_path: Path, slipstream: Command
) -> None:
    """Build a cache, describe it, look at it, measure it."""
    caches = tmp_path / "caches"
    build = slipstream("build", folder, "--cache-dir", caches)
    assert build.returncode == 0, build.stderr
    cache = Path(build.stdout.strip().splitlines()[-1])
    assert (cache / "manifest.json").is_file()

    info = slipstream("info", folder, "--cache-dir", caches, "--json")
    facts = json.loads(info.stdout)
    assert (facts["samples"], facts["built"]) == (12, "yes")
    assert facts["images in 'image'"]["conditions"] == {"sound": 12}

    for options in ([], ["--pipeline", "rrc_normalized"], ["--ids", "0,11"]):
        out = tmp_path / "sheet.png"
        show = slipstream("show", cache, "--out", out, *options)
        assert show.returncode == 0, show.stderr
        assert out.stat().st_size > 1000

    bench = slipstream(
        *("bench", cache, "--pipeline", "raw", "--pipeline", "rrc", "--epochs", 2),
        *("--batch-size", 4, "--threads", 2, "--json", "figures.json"),
    )
    assert bench.returncode == 0, bench.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [result["pipeline"] for result in figures["results"]] == ["raw", "rrc"]
    assert figures["memcpy_bytes_per_second"] > 0
    for result in figures["results"]:
        assert len(result["images_per_second"]["epochs"]) == 2
        assert result["images_per_second"]["best"] >= result["images_per_second"]["median"] > 0
        assert result["cpu_seconds_per_image"] > 0
        assert (result["threads"], result["batch_size"], result["order"]) == (2, 4, "random")


def test_info_without_a_source_describes_the_machine(slipstream: Command) -> None:
    """Engines, threads, versions."""
    run = slipstream("info", "--json")
    facts = json.loads(run.stdout)
    assert "pillow" in facts["engines"]
    assert facts["machine"]["versions"]["torch"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "nowhere"], "nowhere does not exist"),
        (["build", "."], "no images"),
        (["show", "slipcache-0123456789abcdef", "--out", "sheet.png"], "slipcache-"),
    ],
)
def test_errors_are_one_line_and_exit_code_1(
    arguments: list[str], message: str, slipstream: Command
) -> None:
    """No traceback: what is wrong, and what to do."""
    run = slipstream(*arguments)
    assert run.returncode == 1
    assert message in run.stderr
    assert run.stderr.startswith("error: ")
    assert len(run.stderr.strip().splitlines()) == 1
    assert "Traceback" not in run.stderr


def test_the_script_ends_as_the_command_does(tmp_path: Path) -> None:
    """The exit code and the one line come out of the installed script."""
    run = script("build", "nowhere", cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith("error: nowhere does not exist")
    assert len(run.stderr.strip().splitlines()) == 1


def test_a_wrong_pipeline_name_lists_the_right_ones(folder: Path, slipstream: Command) -> None:
    """Usage errors exit with code 2, as everywhere."""
    run = slipstream("show", folder, "--cache-dir", "caches", "--out", "x.png", "--pipeline", "rcc")
    assert run.returncode == 2
    assert "center_crop" in run.stderr


def test_the_version_is_that_of_the_distribution(slipstream: Command) -> None:
    """``--version`` prints one line and runs no command."""
    ended = slipstream("--version")
    assert ended.returncode == 0
    assert ended.stdout == f"slipstream {version('visionlab-slipstream-loader')}\n"


def test_a_pipeline_of_two_fields_is_a_usage_error(
    slipstream: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named with its fields, without a traceback."""
    point = EntryPoint("pair", "package:pair", named_pipelines.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda point: lambda: {"image": [], "mask": []})
    monkeypatch.setattr(named_pipelines, "entry_points", lambda group: [point])
    run = slipstream("show", "photos", "--out", "x.png", "--pipeline", "pair")
    assert run.returncode == 2
    assert "'mask'" in run.stderr


def test_a_package_that_is_missing_is_one_line(
    slipstream: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to install, on one line."""
    monkeypatch.setitem(sys.modules, "slipstream_s3sync", None)
    run = slipstream("sync", "ls", "s3://bucket/lab")
    assert run.returncode == 1
    assert run.stderr.startswith("error: ")
    assert "pip install" in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


def test_paths_are_printed_as_they_are(folder: Path, tmp_path: Path, slipstream: Command) -> None:
    """Nothing in a path is markup: no brackets, no names of emoji, on stdout and stderr."""
    place = tmp_path / "[old]" / "[" / "x] :dog:"
    build = slipstream("build", folder, "--cache-dir", place)
    assert build.returncode == 0, build.stderr
    cache = Path(build.stdout.splitlines()[-1])
    assert cache.parent == place
    assert f"cache {cache}" in slipstream("info", folder, "--cache-dir", place).stdout.splitlines()
    sheet = place / "sheet.png"
    assert slipstream("show", cache, "--out", sheet).stdout.splitlines() == [str(sheet)]
    copy = slipstream("export", cache, "--folder", place / "copy")
    assert copy.stdout.splitlines() == [f"12 samples: {place / 'copy'}"]
    assert str(place / "none") in slipstream("build", place / "none").stderr


def test_what_needs_no_torch_does_not_import_it(folder: Path, tmp_path: Path) -> None:
    """Build, info, index, verify and stats work where torch cannot be imported: it takes long."""
    program = """
import sys
sys.modules["torch"] = None
from slipstream_loader.cli import app
for arguments in (
    ["build", sys.argv[1], "--cache-dir", "caches"],
    ["info", sys.argv[1], "--cache-dir", "caches"],
    ["stats", sys.argv[1], "--cache-dir", "caches"],
    ["index", sys.argv[2], "--field", "label", "--seek"],
    ["verify", sys.argv[2]],
):
    app(arguments, standalone_mode=False)
"""
    cache = Path("caches") / SlipstreamDataset(folder, cache_dir=tmp_path).cache_path.name
    run = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(cache)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "nothing is wrong" in run.stdout


def test_a_cache_without_samples(tmp_path: Path, slipstream: Command) -> None:
    """What needs samples says that there are none; all else has nothing to do."""
    fields = {"image": FieldSpec("image"), "label": FieldSpec("dense", "<i8")}
    cache = build(MemorySource([], fields), tmp_path / "slipcache-0").cache_dir
    for arguments in (["show", cache, "--out", "a.png"], ["bench", cache], ["stats", cache]):
        run = slipstream(*arguments)
        assert run.returncode == 1
        assert re.fullmatch(r"error: .*no samples.*\n", run.stderr)
    for target in ("--folder", "--webdataset", "--beton"):
        run = slipstream("export", cache, target, target.strip("-"))
        assert run.stdout.startswith("0 samples"), run.stderr
    for _ in range(2):  # without seek points, and with them
        for arguments in (["info", cache], ["report", cache, "--html", "a.html"]):
            run = slipstream(*arguments)
            assert run.returncode == 0, run.stderr
        assert slipstream("index", cache, "--seek", "--field", "label").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "nowhere", "--out", "none/a.png"],
        ["show", "nowhere", "--out", "a.text"],
        ["show", "nowhere", "--out", "folder.png"],
        ["report", "nowhere", "--html", "none/a.html"],
        ["report", "nowhere", "--html", "folder.png"],
        ["bench", "nowhere", "--json", "none/a.json"],
        ["demo", "--out", "none/a.png"],
    ],
)
def test_places_to_write_to_are_looked_at_first(
    arguments: list[str], tmp_path: Path, slipstream: Command
) -> None:
    """Not after the hours that a build or the reading of everything may take."""
    (tmp_path / "folder.png").mkdir()
    run = slipstream(*arguments)
    assert run.returncode == 2
    assert Path(arguments[-1]).name in run.stderr
    assert "nowhere" not in run.stderr


def test_names_that_are_not_unicode(folder: Path, tmp_path: Path, slipstream: Command) -> None:
    """They are printed as far as they can be, where output takes nothing else than text."""
    shutil.copytree(folder, place := tmp_path / "caf\udce9")
    run = slipstream("show", place, "--out", tmp_path / "b\udce9.png", "--cache-dir", tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == f"{tmp_path}/b\\udce9.png\n"


def test_damaged_images_are_on_the_sheet(folder: Path, tmp_path: Path, slipstream: Command) -> None:
    """They are black, with a caption that says so, between the others."""
    shutil.copytree(folder, place := tmp_path / "photos")
    path = sorted(place.rglob("*.jpg"))[1]
    path.write_bytes(path.read_bytes()[:300])
    assert slipstream("build", place, "--cache-dir", tmp_path).returncode == 0
    for out, options in (("a.png", ()), ("b.png", ("--pipeline", "rrc"))):
        run = slipstream("show", place, "--cache-dir", tmp_path, "--out", out, *options)
        assert (run.returncode, run.stderr) == (0, "")
        sheet = np.asarray(Image.open(tmp_path / out))
        black = [(sheet[8 + 80, 8 + 168 * column + 80] == 0).all() for column in range(3)]
        assert black == [False, True, False]
