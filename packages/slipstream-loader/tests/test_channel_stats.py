"""Channel statistics: exact, equal however they are computed, and honest about what fails."""

from __future__ import annotations

import io
import json
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from slipstream_cache import (
    CacheWriteError,
    FieldNotFoundError,
    SampleCache,
    StorageOptions,
    read_stats,
)
from slipstream_decoders import CorruptImageError
from slipstream_loader import (
    SlipstreamDataset,
    SlipstreamLoader,
    channel_stats,
    compute_normalization_stats,
    prepare_cache,
)
from slipstream_loader.cli import app

command = import_module("slipstream_loader.cli.stats")  # the package holds its function
SIZES = [(40, 60), (33, 21), (8, 8), (100, 3), (57, 90), (64, 64), (1, 1)]


def _jpeg(number: int, height: int, width: int) -> bytes:
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (4, 4, 3), np.uint8) // 2 + np.uint8(10 * number)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).save(file, "JPEG", quality=90)
    return file.getvalue()


JPEGS = [_jpeg(number, *size) for number, size in enumerate(SIZES)]


def _by_numpy(payloads: list[bytes]) -> dict[str, NDArray[np.float64]]:
    """The textbook formulas over all pixels at once, in double precision."""
    pixels = np.concatenate(
        [
            np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).reshape(-1, 3)
            for data in payloads
        ]
    )
    return {"mean": (pixels / 255.0).mean(axis=0), "std": (pixels / 255.0).std(axis=0)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SlipstreamDataset:
    """Images of seven sizes."""
    samples = [{"image": data, "label": number} for number, data in enumerate(JPEGS)]
    return SlipstreamDataset(samples, cache_dir=tmp_path_factory.mktemp("caches"))


@pytest.fixture(scope="module")
def cache(dataset: SlipstreamDataset) -> SampleCache:
    """Their cache."""
    return prepare_cache(dataset, verbose=False)


@pytest.mark.parametrize("num_samples", [None, 1, 3, 7, 1000])
def test_statistics_are_those_of_all_pixels(cache: SampleCache, num_samples: int | None) -> None:
    """Per pixel over whole images, of the first samples only if asked; std of the population."""
    found = compute_normalization_stats(cache, num_samples=num_samples, verbose=False)
    expected = _by_numpy(JPEGS[:num_samples])
    for name in ("mean", "std"):
        assert len(found[name]) == 3
        assert all(type(value) is float for value in found[name])
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-9)


def test_bits_do_not_depend_on_batches_threads_or_memory(
    cache: SampleCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal to the bit for every batch size, number of threads and size of the groups."""
    expected = compute_normalization_stats(cache, verbose=False)
    for batch_size in (1, 2, 5, 100):
        for threads in (1, 2, 5):
            found = compute_normalization_stats(
                cache, batch_size=batch_size, num_threads=threads, verbose=False
            )
            assert found == expected
    monkeypatch.setattr(channel_stats, "_PIXELS_PER_THREAD", 3000)
    assert compute_normalization_stats(cache, num_threads=1, verbose=False) == expected


def test_no_more_pixels_are_decoded_at_once_than_allowed(
    cache: SampleCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups hold as many pixels as allowed, or one larger image; together they hold all rows."""
    monkeypatch.setattr(channel_stats, "_PIXELS_PER_THREAD", 3000)
    batch = channel_stats.encoded(cache.payloads("image", range(7)))
    groups = list(channel_stats._groups(batch, 1))
    assert [row for rows in groups for row in range(rows.start, rows.stop)] == list(range(7))
    pixels = batch.heights.astype(int) * batch.widths
    for rows in groups:
        assert rows.stop - rows.start == 1 or pixels[rows].sum() <= 3000
    assert 1 < len(groups) < 7


def test_a_constant_has_no_deviation() -> None:
    """Where double-precision sums leave a small remainder, integers leave none."""
    sums = channel_stats.ChannelSums()
    for _ in range(1000):
        image = np.array([[7 * 10**9] * 3, [49 * 10**9] * 3])
        sums = sums.plus(10**9, image)
    assert sums.stats() == {"mean": (7 / 255,) * 3, "std": (0.0,) * 3}


def test_caches_loaders_data_sets_and_paths_will_do(
    dataset: SlipstreamDataset, cache: SampleCache
) -> None:
    """Whatever has a cache, or says where it is."""
    expected = compute_normalization_stats(cache, verbose=False)
    loader = SlipstreamLoader(dataset, batch_size=2, verbose=False)
    for source in (dataset, loader, cache.cache_dir, str(cache.cache_dir)):
        assert compute_normalization_stats(source, verbose=False) == expected
    loader.shutdown()


def test_stored_pixels_count_as_they_are(tmp_path: Path) -> None:
    """A cache of RGB pixels gives the source's own numbers."""
    rng = np.random.default_rng(0)
    files = []
    for size in SIZES:
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(file, "PNG")
        files.append(file.getvalue())
    options = StorageOptions(codec="rgb")
    dataset = SlipstreamDataset(
        [{"image": data} for data in files], cache_dir=tmp_path, storage_options=options
    )
    found = compute_normalization_stats(dataset, verbose=False)
    expected = _by_numpy(files)
    np.testing.assert_allclose(found["mean"], expected["mean"], rtol=1e-12)
    np.testing.assert_allclose(found["std"], expected["std"], rtol=1e-12)


def test_planes_are_taken_from_caches_that_store_them(tmp_path: Path, cache: SampleCache) -> None:
    """yuv420 of a cache that stores it."""
    files = []
    for number, size in enumerate(SIZES):
        file = io.BytesIO()
        Image.open(io.BytesIO(_jpeg(number, *size))).save(file, "PNG")
        files.append({"image": file.getvalue()})
    dataset = SlipstreamDataset(
        files, cache_dir=tmp_path, storage_options=StorageOptions(codec="yuv420")
    )
    planes = compute_normalization_stats(dataset, image_format="yuv420", verbose=False)
    pixels = compute_normalization_stats(cache, verbose=False)
    np.testing.assert_allclose(planes["mean"], pixels["mean"], atol=0.02)


@pytest.mark.filterwarnings("ignore")
def test_images_that_cannot_be_decoded_are_named(tmp_path: Path) -> None:
    """Their ids are in the error; what comes before them can still be used."""
    samples = [{"image": data} for data in [*JPEGS[:3], JPEGS[5][:300], b"no image", JPEGS[4]]]
    dataset = SlipstreamDataset(samples, cache_dir=tmp_path)
    with pytest.raises(CorruptImageError) as caught:
        compute_normalization_stats(dataset, verbose=False)
    assert caught.value.sample_ids == [3, 4]
    found = compute_normalization_stats(dataset, num_samples=3, verbose=False)
    np.testing.assert_allclose(found["mean"], _by_numpy(JPEGS[:3])["mean"])


def test_wrong_arguments_are_refused(cache: SampleCache) -> None:
    """With the built-in errors that fit."""
    with pytest.raises(ValueError, match="image_format"):
        compute_normalization_stats(cache, image_format="png")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_samples"):
        compute_normalization_stats(cache, num_samples=0)
    with pytest.raises(ValueError, match="batch_size"):
        compute_normalization_stats(cache, batch_size=0)
    with pytest.raises(FieldNotFoundError, match="picture"):
        compute_normalization_stats(cache, "picture")


def test_the_command_prints_them(cache: SampleCache) -> None:
    """As text to read, and as JSON with every digit; of some samples nothing is kept."""
    runner = CliRunner()
    arguments = ["stats", str(cache.cache_dir), "--num-samples", "3"]
    expected = compute_normalization_stats(cache, num_samples=3, verbose=False)
    printed = runner.invoke(app, [*arguments, "--json"])
    assert printed.exit_code == 0
    assert {key: tuple(value) for key, value in json.loads(printed.stdout).items()} == expected
    text = runner.invoke(app, arguments).stdout
    assert f"mean ({expected['mean'][0]:.6f}" in text
    assert read_stats(cache, "normalization") is None


def test_the_command_keeps_the_statistics_of_all_samples(
    dataset: SlipstreamDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the cache, where the next call finds them; a cache that nobody may write does not fail."""
    copy = tmp_path / "copy"
    shutil.copytree(prepare_cache(dataset, verbose=False).cache_dir, copy)
    arguments = ["stats", str(copy), "--json"]

    def refuse(*_: object) -> None:
        raise CacheWriteError("read-only")

    with monkeypatch.context() as patch:
        patch.setattr(command, "write_stats", refuse)
        first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0
    assert read_stats(SampleCache.open(copy), "normalization") is None
    second = CliRunner().invoke(app, arguments)
    kept = read_stats(SampleCache.open(copy), "normalization")
    assert kept == {"image": json.loads(first.stdout)}
    monkeypatch.setattr(command, "compute_normalization_stats", refuse)
    third = CliRunner().invoke(app, arguments)
    assert first.stdout == second.stdout == third.stdout
