"""Shuffle the patches of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from slipstream_ssl_pipelines.errors import ImageBatchError
from slipstream_ssl_pipelines.transforms.base import RandomTransform
from slipstream_ssl_pipelines.transforms.chunks import Params, Work
from slipstream_ssl_pipelines.transforms.draws import Draws


class RandomPatchShuffle(RandomTransform):
    """Cut the image into square patches and put them in random order.

    Parameters
    ----------
    sizes : int or sequence of int
        Side of a patch, pixels: one of these for each sample. Each must divide height and width.
    p : float
    seed, device, inplace
        See ``RandomTransform``.
    """

    work: ClassVar[Work] = "native"

    def __init__(
        self,
        sizes: int | Sequence[int],
        p: float = 0.5,
        *,
        seed: int | None = None,
        device: Any = None,
        inplace: bool = False,
    ) -> None:
        super().__init__(p, seed=seed, device=device, inplace=inplace)
        self.sizes = [sizes] if isinstance(sizes, int) else list(sizes)
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f"sizes must be positive numbers of pixels, got {sizes!r}")

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``size`` and ``source``: for each pixel of the patch grid, where it comes from.

        ``source`` has a row of length (patches of the smallest size) a sample; only the first of
        them count for larger patches.
        """
        if any(height % size or width % size for size in self.sizes):
            raise ImageBatchError(
                f"RandomPatchShuffle: patches of {self.sizes} pixels do not divide an image of "
                f"{height} x {width}"
            )
        choice = draws.integers(0, len(self.sizes))
        numbers = torch.from_numpy(draws.numbers(max(self._counts(height, width))).copy())
        orders = torch.stack([self._orders(numbers, n) for n in self._counts(height, width)])
        chosen = orders[choice, torch.arange(draws.num_samples)]
        return {"size": torch.tensor(self.sizes)[choice], "source": chosen}

    def _counts(self, height: int, width: int) -> list[int]:
        return [(height // size) * (width // size) for size in self.sizes]

    @staticmethod
    def _orders(numbers: torch.Tensor, count: int) -> torch.Tensor:
        orders = torch.arange(numbers.shape[1]).expand(len(numbers), -1).clone()
        orders[:, :count] = numbers[:, :count].argsort(dim=1, stable=True)
        return orders

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        if len(self.sizes) == 1:
            return _shuffled(images, self.sizes[0], params["source"])
        result = images.clone()
        for size in self.sizes:
            rows = (params["size"] == size).nonzero()[:, 0]
            result[rows] = _shuffled(images[rows], size, params["source"][rows])
        return result


def _shuffled(images: torch.Tensor, size: int, source: torch.Tensor) -> torch.Tensor:
    num, channels, height, width = images.shape
    down, across = height // size, width // size
    grid = images.reshape(num, channels, down, size, across, size).permute(0, 2, 4, 3, 5, 1)
    patches = grid.reshape(num, down * across, size * size * channels)
    samples = torch.arange(num, device=images.device).unsqueeze(1)
    moved = patches[samples, source[:, : down * across]]
    grid = moved.view(num, down, across, size, size, channels).permute(0, 5, 1, 3, 2, 4)
    return grid.reshape(images.shape)
