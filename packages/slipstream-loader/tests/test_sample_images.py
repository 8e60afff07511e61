"""Generated photographs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slipstream_loader.sample_images import SampleFolder, Theme, natural_image, write_sample_folder


def pictures(directory: Path) -> list[Image.Image]:
    """Decode all files of a folder."""
    decoded = []
    for path in sorted(directory.rglob("*.jpg")):
        with Image.open(path) as image:
            decoded.append(image.copy())
    return decoded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> SampleFolder:
    """Return a folder of three classes of 12 images."""
    return write_sample_folder(tmp_path_factory.mktemp("samples") / "a" / "b", 3, 12, seed=5)


def test_folder_is_as_described(folder: SampleFolder) -> None:
    """The folder has one folder for each class, and the numbers are those of its files."""
    files = sorted(folder.directory.rglob("*.jpg"))
    sizes = [image.size for image in pictures(folder.directory)]
    assert sorted(path.name for path in folder.directory.iterdir()) == [
        "class_000",
        "class_001",
        "class_002",
    ]
    assert len(files) == folder.num_images == 36
    assert folder.num_bytes == sum(path.stat().st_size for path in files)
    assert folder.num_pixels == sum(width * height for width, height in sizes)


def test_files_weigh_what_photographs_weigh(folder: SampleFolder) -> None:
    """At quality 90 a pixel takes 2 to 3 bits; sizes and aspect ratios vary around ImageNet's."""
    assert 2 < folder.bits_per_pixel < 3
    assert 150_000 < folder.num_pixels / folder.num_images < 250_000
    sizes = [image.size for image in pictures(folder.directory)]
    aspects = [width / height for width, height in sizes]
    assert len(set(sizes)) == len(sizes)
    assert min(aspects) < 1 < max(aspects)


def test_same_seed_gives_the_same_files(folder: SampleFolder, tmp_path: Path) -> None:
    """A picture depends on the seed, its class and its number, not on how many are made."""
    again = write_sample_folder(tmp_path / "again", 2, 1, seed=5)
    other = write_sample_folder(tmp_path / "other", 2, 1, seed=6)
    for label in (0, 1):
        name = f"class_{label:03}/image_00000.jpg"
        expected = (folder.directory / name).read_bytes()
        assert (again.directory / name).read_bytes() == expected
        assert (other.directory / name).read_bytes() != expected


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (3, 2), (97, 61)])
def test_any_size(height: int, width: int) -> None:
    """A picture of any size is uint8, and its bytes follow from the generator."""
    image = natural_image(np.random.default_rng(1), height, width)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert np.array_equal(image, natural_image(np.random.default_rng(1), height, width))


def test_spectrum_falls_as_that_of_photographs() -> None:
    """Amplitude falls with frequency with an exponent between 0.7 and 1.6."""
    slopes = []
    for seed in range(6):
        grey = natural_image(np.random.default_rng(seed), 256, 256).mean(axis=2)
        window = np.hanning(256)
        amplitude = np.abs(np.fft.fft2((grey - grey.mean()) * np.outer(window, window)))
        radius = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
        bands = [(low <= radius) & (radius < 2 * low) for low in (1 / 64, 1 / 32, 1 / 16, 1 / 8)]
        levels = np.log2([amplitude[band].mean() for band in bands])
        slopes.append(-np.polyfit(range(4), levels, 1)[0])
    assert 0.7 < np.mean(slopes) < 1.6


def test_classes_differ(folder: SampleFolder) -> None:
    """Themes of neighbouring classes differ in hue and shape, and so do their mean pictures."""
    themes = [Theme.of_class(label) for label in range(10)]
    for one, next_one in itertools.pairwise(themes):
        assert abs(one.hue - next_one.hue) > 0.1
        assert one.num_lobes != next_one.num_lobes

    def colours(label: int) -> np.ndarray:
        images = pictures(folder.directory / f"class_{label:03}")
        return np.stack([np.asarray(image.resize((32, 32))) for image in images])

    means = [colours(label).mean(axis=(0, 1, 2)) for label in range(3)]
    assert all(np.abs(means[a] - means[b]).max() > 8 for a, b in ((0, 1), (1, 2), (0, 2)))
