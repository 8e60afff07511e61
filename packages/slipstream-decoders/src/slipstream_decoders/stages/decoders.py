"""Decoders as objects, for code without a loader: on a GPU, on the CPU, or whichever there is.

In a loader, decode with stages: ``DecodeRandomResizedCrop(224, device="cuda")``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders.context import BatchContext
from slipstream_decoders.decode import decode_images
from slipstream_decoders.engines.choose import CropEngineName
from slipstream_decoders.errors import BackendUnavailableError
from slipstream_decoders.stages.center_crop import DecodeCenterCrop
from slipstream_decoders.stages.crop import CropStage, as_encoded
from slipstream_decoders.stages.device.nvimgcodec import (
    INSTALL,
    NvImageCodec,
    is_nvimgcodec_installed,
    nvimgcodec_of,
)
from slipstream_decoders.stages.random_resized import DecodeRandomResizedCrop
from slipstream_decoders.threads import default_num_threads


def check_gpu_decoder_available() -> bool:
    """Whether torch sees a CUDA device and nvImageCodec is installed."""
    return torch.cuda.is_available() and is_nvimgcodec_installed()


class CPUDecoder:
    """Decodes batches of JPEGs on the CPU's kernel threads.

    Parameters
    ----------
    num_workers : int, optional
        Threads; default: as many as the process may use.

    Notes
    -----
    Batches are what stages take: an ``EncodedBatch``, the image field of
    ``SampleCache.load_batch``, or a list of JPEG files as bytes. The threads are the process's own.
    """

    engine: CropEngineName = "auto"

    def __init__(self, num_workers: int | None = None) -> None:
        self.num_workers = default_num_threads() if num_workers is None else num_workers
        if self.num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {num_workers}")
        self.device = torch.device("cpu")

    def decode_batch(self, batch: Any) -> list[torch.Tensor]:
        """Decode whole images.

        Returns
        -------
        list of Tensor of uint8, shape (3, height, width)
            RGB, each in its own size, channels last in memory, on ``device``.

        Raises
        ------
        CorruptImageError, UnsupportedImageError
            With the numbers of all images that failed.
        """
        encoded = as_encoded(batch)
        images = decode_images(encoded, self._context(len(encoded)))
        return [torch.from_numpy(image).permute(2, 0, 1) for image in images]

    def decode_batch_to_tensor(self, batch: Any, size: int = 224) -> torch.Tensor:
        """Decode to one tensor: see ``decode_batch_center_crop``."""
        return self.decode_batch_center_crop(batch, size)

    def decode_batch_center_crop(self, batch: Any, crop_size: int = 224) -> torch.Tensor:
        """Centred squares, scaled to one size: uint8 (B, 3, crop_size, crop_size) on ``device``.

        Raises
        ------
        CorruptImageError, UnsupportedImageError
            With the numbers of all images that failed.
        """
        return self._crop(batch, DecodeCenterCrop(crop_size, **self._placed()))

    def decode_batch_random_crop(
        self,
        batch: Any,
        target_size: int | Sequence[int] = 224,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        seed: int | None = None,
    ) -> torch.Tensor:
        """Random resized crops, torchvision's law: uint8 (B, 3, height, width) on ``device``.

        Parameters
        ----------
        batch : EncodedBatch, mapping or sequence of bytes
        target_size : int or (int, int)
        scale, ratio
            As for ``DecodeRandomResizedCrop``.
        seed : int, optional
            With one, equal calls give equal crops.

        Raises
        ------
        CorruptImageError, UnsupportedImageError
            With the numbers of all images that failed.
        """
        stage = DecodeRandomResizedCrop(target_size, scale, ratio, seed=seed, **self._placed())
        return self._crop(batch, stage)

    def shutdown(self) -> None:
        """Nothing: code that was written for decoders with threads of their own calls it."""

    def _placed(self) -> dict[str, Any]:
        return {"device": self.device, "engine": self.engine}

    def _crop(self, batch: Any, stage: CropStage) -> torch.Tensor:
        encoded = as_encoded(batch)
        images: torch.Tensor = stage.apply(encoded, self._context(len(encoded)))
        return images

    def _context(self, num: int) -> BatchContext:
        context = BatchContext.standalone(num)
        return BatchContext(context.sample_ids, context.seed, num_threads=self.num_workers)


class GPUDecoder(CPUDecoder):
    """Decodes batches of JPEGs on a GPU with nvImageCodec, and crops and resizes them there.

    An image that nvImageCodec does not take is decoded on the CPU; images that are not decodable
    are errors that name them.

    Parameters
    ----------
    device : int or device
        A CUDA device; ``"cpu"`` runs the same calls in nvImageCodec's CPU-only mode.
    num_workers : int, optional
        Threads for what is done on the CPU; default: as many as the process may use.

    Raises
    ------
    BackendUnavailableError
        If nvImageCodec is not installed, or torch sees no CUDA device.
    """

    engine: CropEngineName = "nvimgcodec"

    def __init__(self, device: Any = 0, num_workers: int | None = None) -> None:
        super().__init__(num_workers)
        chosen = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise BackendUnavailableError("GPUDecoder needs a CUDA device, and torch sees none")
        if not is_nvimgcodec_installed():
            raise BackendUnavailableError(f"nvImageCodec is not installed. Run: {INSTALL}")
        self.device = chosen

    def decode_batch(self, batch: Any) -> list[torch.Tensor]:
        """See ``CPUDecoder``."""
        encoded = as_encoded(batch)
        codec: NvImageCodec = nvimgcodec_of(self.device, self.num_workers)
        found = codec.whole([_bytes(encoded.payload(row)) for row in range(len(encoded))])
        missing = [row for row, image in enumerate(found) if image is None]
        if missing:
            rest = encoded.take(np.array(missing))
            context = BatchContext(np.array(missing), seed=0, num_threads=self.num_workers)
            for row, pixels in zip(missing, decode_images(rest, context), strict=True):
                found[row] = torch.from_numpy(pixels).to(self.device)
        return [image.permute(2, 0, 1) for image in found if image is not None]


def _bytes(payload: memoryview) -> NDArray[np.uint8]:
    return np.frombuffer(payload, np.uint8)


class GPUDecoderFallback(CPUDecoder):
    """Decodes on the CPU and gives tensors on a device: for machines without nvImageCodec.

    Parameters
    ----------
    device : int or device
        Where the results go; a number is a CUDA device, or the CPU where torch sees none.
    num_workers : int, optional
        Threads; default: as many as the process may use.
    """

    def __init__(self, device: Any = 0, num_workers: int | None = None) -> None:
        super().__init__(num_workers)
        if isinstance(device, int):
            device = torch.device("cuda", device) if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)

    def decode_batch(self, batch: Any) -> list[torch.Tensor]:
        """See ``CPUDecoder``."""
        return [image.to(self.device) for image in super().decode_batch(batch)]


def get_decoder(
    device: Any = 0, prefer_gpu: bool = True, fallback_workers: int | None = None
) -> CPUDecoder:
    """The best decoder that there is.

    Parameters
    ----------
    device : int or device
        A CUDA device.
    prefer_gpu : bool
        Whether to decode on the GPU if that is possible.
    fallback_workers : int, optional
        Threads of what is decoded on the CPU; default: as many as the process may use.

    Returns
    -------
    GPUDecoder or GPUDecoderFallback or CPUDecoder
        With a GPU and nvImageCodec, with a GPU alone, without.
    """
    if not prefer_gpu or not torch.cuda.is_available():
        return CPUDecoder(fallback_workers)
    if is_nvimgcodec_installed():
        return GPUDecoder(device, fallback_workers)
    return GPUDecoderFallback(device, fallback_workers)
