"""Images cut into overlapping shingles, augmented, reduced to features, for a DataLoader."""

# ruff: noqa: ARG002
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Unpack

from sqrtspace_streams import baselines
from sqrtspace_streams._rows import Array
from sqrtspace_streams.config import Config
from sqrtspace_streams.demos.demo import Demo
from sqrtspace_streams.pipeline import SqrtSpacePipeline

SIDE, SHINGLE, STEP = 128, 32, 16
"""Pixels of an image, of a shingle, and from one shingle to the next."""
NUM_SHINGLES = ((SIDE - SHINGLE) // STEP + 1) ** 2
NUM_FEATURES = 12
BATCH_SIZE = 32


def tile(images: Array) -> Array:
    """Overlapping shingles of each image.

    Parameters
    ----------
    images : ndarray, shape (n, 1, height, width, 3)
        A window is one image.

    Returns
    -------
    ndarray, shape (n, shingles, SHINGLE, SHINGLE, 3)
    """
    cut = np.lib.stride_tricks.sliding_window_view(images[:, 0], (SHINGLE, SHINGLE), axis=(1, 2))
    cut = np.moveaxis(cut[:, ::STEP, ::STEP], 3, -1)
    return np.ascontiguousarray(cut).reshape(len(images), -1, SHINGLE, SHINGLE, 3)


def augment(shingles: Array, *, rng: np.random.Generator, epoch: int = 0) -> Array:
    """Mirror the shingles of one image and change their brightness and contrast.

    Parameters
    ----------
    shingles : ndarray, shape (shingles, SHINGLE, SHINGLE, 3), uint8
    rng : numpy.random.Generator
        Belongs to the image, whenever and in whatever order images are asked for.
    epoch : int
        Other random numbers in each.

    Returns
    -------
    ndarray of the same shape, float32
    """
    draws = np.random.default_rng([int(rng.integers(1 << 62)), epoch])
    is_mirrored = draws.random((len(shingles), 1, 1, 1)) < 0.5
    brightness, contrast = draws.uniform(-0.2, 0.2, (2, len(shingles), 1, 1, 1)).astype(np.float32)
    pixels = np.where(is_mirrored, shingles[:, :, ::-1], shingles).astype(np.float32)
    pixels *= (1 + contrast) / np.float32(255)
    pixels += brightness
    return pixels


def features(shingles: Array) -> Array:
    """Mean colour, contrast and edges in eight directions of each shingle.

    Parameters
    ----------
    shingles : ndarray, shape (n, shingles, SHINGLE, SHINGLE, 3), float32

    Returns
    -------
    ndarray, shape (n, shingles, NUM_FEATURES), float32
    """
    rows = np.empty((*shingles.shape[:2], NUM_FEATURES), np.float32)
    rows[..., :3] = shingles.mean(axis=(2, 3))
    gray = shingles.mean(axis=-1)
    rows[..., 3] = gray.std(axis=(2, 3))
    across = gray[..., 1:-1, 2:] - gray[..., 1:-1, :-2]
    down = gray[..., 2:, 1:-1] - gray[..., :-2, 1:-1]
    strength = np.hypot(across, down)
    octant = 4 * (across < 0) + 2 * (down < 0) + (np.abs(across) < np.abs(down))
    for direction in range(8):
        rows[..., 4 + direction] = np.where(octant == direction, strength, 0).mean(axis=(2, 3))
    return rows


def write_images(path: str | Path, count: int, *, seed: int = 0) -> None:
    """Write images of coloured gratings in noise to a .npy file, one by one."""
    shape = (count, SIDE, SIDE, 3)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    with open(path, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for index in range(count):
            rng = np.random.default_rng([seed, index])
            fx, fy, phase = rng.uniform(-20, 20, (3, 3))
            waves = np.sin(x[..., None] * fx + y[..., None] * fy + phase)
            image = 127 + 90 * waves + rng.normal(0, 10, (SIDE, SIDE, 3))
            file.write(np.clip(image, 0, 255).astype(np.uint8).tobytes())


class MlDemo(Demo):
    """The images in plain NumPy are `sqrtspace_streams.baselines.shingles`."""

    name, target, unit = "ml", "features", "images"
    default_size, file_name = 400.0, "images.npy"
    window, hop = 1, 1

    def write(self, path: Path, size: float, *, seed: int = 0) -> None:
        """A .npy file of images."""
        write_images(path, int(size), seed=seed)

    def num_windows(self, size: float, window: int, hop: int) -> int:
        """A window is an image."""
        return int(size)

    def size_of(self, num_windows: int, window: int, hop: int) -> float:
        """Images."""
        return num_windows

    def pipeline(self, **config: Unpack[Config]) -> SqrtSpacePipeline:
        """Cut, change at random, reduce."""
        config.setdefault("block_rows", 4)
        pipe = SqrtSpacePipeline(**config)
        pipe.stage("tile", batch_invariant=True)(tile)
        pipe.stage("augment", ["tile"], vectorized=False)(augment)
        pipe.stage(self.target, ["augment"])(features)
        return pipe

    def import_libraries(self) -> None:
        """PyTorch."""
        import sqrtspace_streams.adapters.pytorch_windows  # noqa: F401

    def rows(self, pipe: SqrtSpacePipeline, window: int) -> Array:
        """What a DataLoader gives, put together."""
        from sqrtspace_streams.adapters.pytorch_windows import window_loader

        loader = window_loader(pipe, self.target, batch_size=BATCH_SIZE)
        batches: list[Any] = [batch.numpy() for batch in loader]
        return np.concatenate(batches)

    def plain(self, path: Path, *, window: int, hop: int) -> Array:
        """The features of all images, made at once and then put through the same DataLoader."""
        from sqrtspace_streams.adapters.pytorch_windows import array_loader

        loader = array_loader(baselines.shingles(np.load(path)), batch_size=BATCH_SIZE)
        return np.concatenate([batch.numpy() for batch in loader])

    def title(self, size: float, num_windows: int) -> str:
        """Images and shingles."""
        return f"ml: {num_windows} images, {num_windows * NUM_SHINGLES} shingles"


DEMO = MlDemo()
