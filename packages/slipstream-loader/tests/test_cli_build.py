"""``slipstream build``, here and on dask workers."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from slipstream_cache import SampleCache
from slipstream_cache.testing import read_tree
from slipstream_loader.sample_images import write_sample_folder

pytestmark = pytest.mark.timeout(240)


_SEEK = r"seek points [\d.]+ .?B, \d+\.\d s"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images in two classes; one of them is cut off, one is no image."""
    directory = tmp_path_factory.mktemp("images") / "photos"
    write_sample_folder(directory, num_classes=2, images_per_class=4, seed=0)
    paths = sorted(path for path in directory.rglob("*.*") if path.is_file())
    paths[1].write_bytes(paths[1].read_bytes()[:-40])
    paths[5].write_bytes(b"<html>")
    return directory


def slipstream_build(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    script = shutil.which("slipstream", path=str(Path(sys.executable).parent))
    assert script, "the slipstream script is not installed"
    return subprocess.run(
        [script, "build", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_summary_tells_what_was_built(folder: Path, tmp_path: Path) -> None:
    """Samples, bytes, parts, bad images, seconds, rates, and the path as the last line."""
    for workers, expected in (
        (1, r"\d+\.\d s, [\d.]+ .?B/s; " + _SEEK),
        (2, "found, built before; " + _SEEK),
    ):
        run = slipstream_build(folder, "--cache-dir", tmp_path, "--workers", workers)
        assert run.returncode == 0, run.stderr
        contents, timing, path = run.stdout.splitlines()
        assert re.fullmatch(r"8 samples, [\d.]+ .?B, 1 part, 1 damaged, 1 unreadable", contents), (
            contents
        )
        assert re.fullmatch(expected, timing), timing
        assert len(SampleCache.open(path)) == 8


@pytest.mark.slow
def test_dask_workers_build_the_same_cache(folder: Path, tmp_path: Path) -> None:
    """With --dask the scheduler's workers do the work, and the bytes are the same."""
    distributed = pytest.importorskip("distributed", reason="needs dask.distributed")
    assert slipstream_build(folder, "--cache-dir", tmp_path / "here").returncode == 0
    logging.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of dask itself: ports, sockets
            with distributed.LocalCluster(
                n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None
            ) as cluster:
                address = cluster.scheduler_address
                run = slipstream_build(folder, "--cache-dir", tmp_path / "dask", "--dask", address)
    finally:
        logging.disable(logging.NOTSET)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("8 samples")
    trees = [
        {name: data for name, data in read_tree(tmp_path / place).items() if ".lock" not in name}
        for place in ("here", "dask")
    ]
    assert trees[0] == trees[1]


def test_an_address_without_a_scheduler_is_one_line(folder: Path, tmp_path: Path) -> None:
    """Nobody listens: an error of one line, and nothing is written."""
    pytest.importorskip("distributed", reason="needs dask.distributed")
    run = slipstream_build(folder, "--cache-dir", tmp_path / "c", "--dask", "nowhere")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "c").exists()
