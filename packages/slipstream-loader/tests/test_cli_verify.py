"""``slipstream verify`` and ``slipstream index``, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from slipstream_cache import FieldTypeError, RepairError, SampleCache
from slipstream_loader import SlipstreamDataset
from slipstream_loader.cli import app
from slipstream_loader.errors import SourceError
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sample_images import write_sample_folder

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def cache(tmp_path: Path) -> SampleCache:
    """The cache of the folder ``photos``."""
    write_sample_folder(tmp_path / "photos", num_classes=3, images_per_class=4, seed=0)
    return prepare_cache(SlipstreamDataset(tmp_path / "photos", cache_dir=tmp_path))


def slipstream(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_whole_cache_passes(cache: SampleCache, tmp_path: Path) -> None:
    """Exit code 0 and one line, with the source compared."""
    run = slipstream("verify", cache.cache_dir, "--full", "--source", tmp_path / "photos")
    assert run.exit_code == 0, run.output
    assert "nothing is wrong" in run.stdout
    assert "12 samples compared" in run.stdout


def test_damage_is_told_and_repaired(cache: SampleCache, tmp_path: Path) -> None:
    """Exit code 1 while something is wrong, and 0 once it was repaired."""
    path = cache.cache_dir / "part-00000" / "image.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 4
    path.write_bytes(data)
    assert slipstream("verify", cache.cache_dir).exit_code == 0
    run = slipstream("verify", cache.cache_dir, "--full")
    assert run.exit_code == 1
    assert "sample 0" in run.stdout
    assert "2 problems" in run.stdout
    write_sample_folder(tmp_path / "others", num_classes=3, images_per_class=5, seed=0)
    run = slipstream("verify", cache.cache_dir, "--repair", tmp_path / "others")
    assert isinstance(run.exception, RepairError)
    for wrong in (tmp_path / "none", cache.cache_dir):  # told before everything is read
        run = slipstream("verify", cache.cache_dir, "--repair", wrong)
        assert isinstance(run.exception, SourceError)
        assert run.stdout == ""
    run = slipstream("verify", cache.cache_dir, "--repair", tmp_path / "photos")
    assert run.exit_code == 0, run.output
    assert "repaired" in run.stdout
    assert slipstream("verify", cache.cache_dir, "--full").exit_code == 0


def test_index_makes_an_index(cache: SampleCache) -> None:
    """It says how many values there are, and an open cache finds it."""
    run = slipstream("index", cache.cache_dir, "--field", "label", "--field", "path")
    assert run.exit_code == 0, run.output
    assert "label: 3 distinct values" in run.stdout
    assert len(cache.value_index("label").sample_ids(1)) == 4
    run = slipstream("index", cache.cache_dir, "--field", "image")
    assert isinstance(run.exception, FieldTypeError)
