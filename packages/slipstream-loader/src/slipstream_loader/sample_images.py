"""Natural-looking photographs made from random numbers, for demos, benchmarks and tests.

They have what makes photographs hard or easy for a JPEG decoder: a 1/f spectrum, correlated colour
channels, smooth and busy regions, soft-edged objects, uneven light and a little sensor noise. At
quality 90 they take 2 to 3 bits per pixel; their sizes are spread as those of ImageNet.
"""

from __future__ import annotations

import colorsys
import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane: TypeAlias = NDArray[np.float32]

_MEAN_PIXELS: Final = 190_000
_PIXEL_RANGE: Final = (30_000, 600_000)
_GOLDEN: Final = 0.618_034


@dataclass(frozen=True)
class Theme:
    """What the pictures of one class have in common."""

    hue: float
    """Hue of the objects, in turns."""
    num_lobes: int
    """Lobes of their outline; 0 is an ellipse."""

    @classmethod
    def of_class(cls, label: int) -> Theme:
        """Return a theme that differs from that of the neighbouring labels."""
        return cls(hue=label * _GOLDEN % 1.0, num_lobes=(0, 3, 5, 4, 7)[label % 5])


@dataclass(frozen=True)
class SampleFolder:
    """A folder that `write_sample_folder` wrote."""

    directory: Path
    num_images: int
    num_bytes: int
    """Bytes of all files."""
    num_pixels: int
    """Pixels of all images."""

    @property
    def bits_per_pixel(self) -> float:
        """Mean bits of a file for each pixel of its image."""
        return 8 * self.num_bytes / self.num_pixels


def natural_image(
    rng: np.random.Generator, height: int, width: int, theme: Theme | None = None
) -> NDArray[np.uint8]:
    """Make one picture: objects in a landscape.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    height, width : int
        Size in pixels.
    theme : Theme, optional
        Hue and shape of the objects; drawn if None.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
    """
    if theme is None:
        theme = Theme(float(rng.random()), int(rng.integers(3, 8)))
    y, x = np.mgrid[:height, :width].astype(np.float32) / np.float32(max(height, width))
    coarse = _smooth_field(rng, height, width, 2.0)
    colour, ground = _landscape(rng, y, x, coarse)
    activity = (0.03 + 0.16 * ground) * np.exp(np.clip(0.7 * coarse, -2, 0.7))
    for _ in range(int(rng.integers(1, 4))):
        mask, shading = _object(rng, y, x, theme.num_lobes)
        hue = theme.hue + rng.normal(0, 0.015)
        paint = _rgb(hue, rng.uniform(0.55, 0.95), rng.uniform(0.45, 0.95))
        colour += mask[..., None] * (paint * shading[..., None] - colour)
        activity += mask * (np.float32(rng.uniform(0.05, 0.2)) - activity)
    light = 1 + activity * _power_law_field(rng, height, width, 0.9)
    light *= _illumination(rng, y, x)
    colour *= light[..., None]
    tint = 0.02 * _smooth_field(rng, height, width, 1.2)
    colour += tint[..., None] * np.array([1.0, -0.2, -1.0], np.float32)
    grain = rng.standard_normal((height, width, 1), np.float32) + 0.5 * rng.standard_normal(
        (height, width, 3), np.float32
    )
    colour += np.float32(rng.uniform(0.8, 2.4) / 255) * grain
    pixels: NDArray[np.uint8] = np.clip(colour * 255 + 0.5, 0, 255).astype(np.uint8)
    return pixels


def write_sample_folder(
    directory: str | os.PathLike[str],
    num_classes: int,
    images_per_class: int,
    seed: int,
    quality: int = 90,
) -> SampleFolder:
    """Write a folder of JPEG files, one folder for each class.

    Parameters
    ----------
    directory : str or path
        Made if missing. Files of the same names are replaced.
    num_classes, images_per_class : int
        The classes differ in the hue and the shape of their objects.
    seed : int
        Decides every picture; a picture depends on its class and number, not on how many there are.
    quality : int
        JPEG quality, with Pillow's default chroma subsampling (4:2:0).

    Returns
    -------
    SampleFolder
        What was written, as ``class_000/image_00000.jpg``.
    """
    root = Path(directory)
    for label in range(num_classes):
        (root / f"class_{label:03}").mkdir(parents=True, exist_ok=True)

    def write(item: tuple[int, int]) -> tuple[int, int]:
        label, number = item
        rng = np.random.default_rng([seed, label, number])
        height, width = _photo_size(rng)
        image = natural_image(rng, height, width, Theme.of_class(label))
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        path = root / f"class_{label:03}" / f"image_{number:05}.jpg"
        return path.write_bytes(file.getvalue()), height * width

    items = [(label, n) for label in range(num_classes) for n in range(images_per_class)]
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="slipstream-sample") as pool:
        sizes = list(pool.map(write, items))
    return SampleFolder(
        directory=root,
        num_images=len(items),
        num_bytes=sum(num_bytes for num_bytes, _ in sizes),
        num_pixels=sum(num_pixels for _, num_pixels in sizes),
    )


def _photo_size(rng: np.random.Generator) -> tuple[int, int]:
    """Draw a height and width: about 190,000 pixels, more often wide than tall."""
    num_pixels = float(np.clip(_MEAN_PIXELS * rng.lognormal(-0.06, 0.35), *_PIXEL_RANGE))
    aspect = float(np.exp(np.clip(rng.normal(0.17, 0.28), -0.8, 0.9)))
    height = round((num_pixels / aspect) ** 0.5)
    return height, round(num_pixels / height)


def _power_law_field(rng: np.random.Generator, height: int, width: int, exponent: float) -> Plane:
    """Return noise of mean 0 and deviation 1 whose amplitude falls as frequency**-exponent."""
    rows, columns = _fast_length(height), _fast_length(width)
    fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
    frequency = np.sqrt(fy**2 + fx**2).astype(np.float32)
    frequency[0, 0] = np.inf
    phases = rng.standard_normal((rows, columns // 2 + 1, 2), np.float32).view(np.complex64)
    field = np.fft.irfft2(phases[..., 0] * frequency**-exponent, s=(rows, columns))
    cropped = field[:height, :width].astype(np.float32)
    cropped -= cropped.mean()
    deviation = cropped.std()
    return cropped / deviation if deviation > 0 else cropped


def _smooth_field(rng: np.random.Generator, height: int, width: int, exponent: float) -> Plane:
    """Return the coarse part of such noise: made at a quarter of the size, and enlarged."""
    small = _power_law_field(rng, -(-height // 4), -(-width // 4), exponent)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.float32)


def _fast_length(length: int) -> int:
    """Round up to a multiple of a power of two that an FFT likes."""
    step = 32 if length > 64 else 2
    return -(-length // step) * step


def _landscape(
    rng: np.random.Generator, y: Plane, x: Plane, coarse: Plane
) -> tuple[NDArray[np.float32], Plane]:
    """Paint sky and ground; also return how much of each pixel is ground."""
    level = rng.uniform(0.3, 0.7) * max(float(y.max()), 0.01)
    horizon = level + rng.normal(0, 0.08) * (x - 0.5) + 0.03 * coarse
    ground = _smooth_step((y - horizon) / np.float32(rng.uniform(0.003, 0.015)))
    top = _rgb(rng.uniform(0.5, 0.65), rng.uniform(0.1, 0.5), rng.uniform(0.6, 0.95))
    haze = _rgb(rng.uniform(0.05, 0.6), rng.uniform(0.02, 0.2), rng.uniform(0.75, 0.95))
    soil = _rgb(rng.uniform(0.07, 0.4), rng.uniform(0.15, 0.55), rng.uniform(0.25, 0.6))
    height = np.clip(y / np.float32(level), 0, 1)[..., None]
    sky = top + height * (haze - top)
    return sky + ground[..., None] * (soil * (1.15 - 0.3 * y[..., None]) - sky), ground


def _object(rng: np.random.Generator, y: Plane, x: Plane, num_lobes: int) -> tuple[Plane, Plane]:
    """Return where an object is (0 to 1, soft at its edge) and how it is lit."""
    centre_y, centre_x = rng.uniform(0.25, 0.75) * y.max(), rng.uniform(0.2, 0.8) * x.max()
    radius = rng.uniform(0.1, 0.28) * min(float(y.max()), float(x.max())) + 0.02
    squeeze, turn = rng.uniform(0.7, 1.0), rng.uniform(0, 2 * np.pi)
    dy, dx = y - np.float32(centre_y), x - np.float32(centre_x)
    u = (np.cos(turn) * dx + np.sin(turn) * dy) / np.float32(radius)
    v = (np.cos(turn) * dy - np.sin(turn) * dx) / np.float32(radius * squeeze)
    outline = 1 + (0.3 * np.cos(num_lobes * np.arctan2(v, u)) if num_lobes else 0)
    distance = np.sqrt(u**2 + v**2) / outline
    mask = _smooth_step((1 - distance) / np.float32(rng.uniform(0.02, 0.1)))
    lit_from = rng.uniform(-np.pi, 0)
    across = (np.cos(lit_from) * dx + np.sin(lit_from) * dy) / np.float32(radius)
    shading = np.clip(0.85 + 0.35 * across - 0.2 * distance**2, 0.15, 1.4)
    return mask.astype(np.float32), shading.astype(np.float32)


def _illumination(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    """Return uneven light and the fall-off of a lens towards the corners."""
    dy, dx = y - y.max() / 2, x - x.max() / 2
    slope_y, slope_x = rng.normal(0, 0.25, 2).astype(np.float32)
    light: Plane = 1 + slope_y * dy + slope_x * dx - np.float32(0.4) * (dy**2 + dx**2)
    return light


def _smooth_step(t: Plane) -> Plane:
    """Return 0 below -1, 1 above 1, and a smooth rise between."""
    s: Plane = np.clip(t * 0.5 + 0.5, 0, 1).astype(np.float32)
    return s * s * (3 - 2 * s)


def _rgb(hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    """Convert a colour from HSV, hue in turns, to RGB in 0 to 1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value), np.float32)
