"""Parts of JPEGs, decoded on the device by nvImageCodec.

A device has one decoder, which all threads that make batches use in turns: what it does on the CPU
is done by threads of its own, and two batches may be under way on the device. Without a device,
nvImageCodec's CPU-only mode runs the same calls with libjpeg-turbo, whose pixels are Pillow's.

Chroma is upsampled smoothly ("fancy"), as libjpeg does by default; a guard of two pixels around
each region keeps its edges out of the picture, where older versions of nvJPEG are off.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders.batch import CODEC_JPEG, EncodedBatch
from slipstream_decoders.errors import BackendUnavailableError
from slipstream_decoders.stages.device.patches import Patches, touched_regions
from slipstream_decoders.threads import default_num_threads
from slipstream_decoders.views import View

INSTALL = "pip install visionlab-slipstream-decoders[gpu]"

_GUARD = 2
_BATCHES_UNDER_WAY = 2
"""Batches on a device whose images have memory of their own: one decodes, one is copied."""
_OPTIONS = ":fancy_upsampling=1 :fast_idct=0 :enable_roi_fancy_upsampling=1"


def is_nvimgcodec_installed() -> bool:
    """Whether nvImageCodec is there; it is not imported."""
    try:
        return find_spec("nvidia.nvimgcodec") is not None
    except ModuleNotFoundError:
        return False


def load_nvimgcodec() -> Any:
    """The module ``nvidia.nvimgcodec``, which is imported when it is first asked for.

    Raises
    ------
    BackendUnavailableError
        If it is not installed, with the install line, or cannot be loaded.
    """
    try:
        return import_module("nvidia.nvimgcodec")
    except ImportError as error:
        raise BackendUnavailableError(
            f"nvImageCodec cannot be loaded ({error}). Run: {INSTALL}"
        ) from error


class NvImageCodec:
    """nvImageCodec on one device; threads that use it at once wait for each other.

    Parameters
    ----------
    device : device
        A CUDA device with its number, or the CPU.
    num_threads : int, optional
        Threads for what nvImageCodec does on the CPU; default: as many as the process may use.

    Raises
    ------
    BackendUnavailableError
        If nvImageCodec is not installed.
    """

    def __init__(self, device: torch.device, num_threads: int | None = None) -> None:
        library = load_nvimgcodec()
        self.device = device
        self._library = library
        on_cpu = device.type == "cpu"
        cpu_only = [library.Backend(library.BackendKind.CPU_ONLY)]
        self._decoder = library.Decoder(
            device_id=library.NVIMGCODEC_DEVICE_CPU_ONLY if on_cpu else device.index,
            max_num_cpu_threads=num_threads or default_num_threads(),
            backends=cpu_only if on_cpu else None,
            options=_OPTIONS,
        )
        self._params = library.DecodeParams(
            apply_exif_orientation=False, color_spec=library.ColorSpec.SRGB
        )
        self._turn = threading.Lock()
        self._kept: deque[tuple[list[Any], torch.cuda.Event | None]] = deque()

    def patches(self, batch: EncodedBatch, views: list[View], rows: NDArray[np.int64]) -> Patches:
        """Decode what crops touch.

        Parameters
        ----------
        batch : EncodedBatch
        views : list of View
            Boxes on the images as stored, which lie in them.
        rows : ndarray of int64

        Returns
        -------
        Patches
            RGB, on this device, of the rows that could be decoded; made on the current CUDA stream.
        """
        rows = rows[batch.codecs[rows] == CODEC_JPEG]
        regions = touched_regions(views, _GUARD)[rows]
        streams, taken = self._parsed(batch, rows, regions)
        with self._turn:
            images = self._decode(streams)
            sound = [place for place, image in enumerate(images) if image is not None]
            shapes = [images[place].shape for place in sound]
            pixels = [self._pixels(images[place]) for place in sound]
            data = torch.cat(pixels) if pixels else torch.empty(0, dtype=torch.uint8)
            self._keep([images[place] for place in sound])
        taken = taken[sound]
        sizes = np.array([pixel.numel() for pixel in pixels], np.int64)
        layout = np.zeros((len(sound), 7), np.int64)
        layout[:, 0] = np.cumsum(sizes) - sizes
        layout[:, 1] = [3 * shape[1] for shape in shapes]
        return Patches(rows[taken], data.to(self.device), layout, regions[taken], is_planes=False)

    def whole(self, payloads: list[NDArray[np.uint8]]) -> list[torch.Tensor | None]:
        """Decode JPEGs whole: uint8 (height, width, 3) on this device, None where that fails."""
        sound, streams = [], []
        for place, payload in enumerate(payloads):
            stream = self._parse(payload)
            if stream is not None:
                sound.append(place)
                streams.append(stream)
        decoded: list[torch.Tensor | None] = [None] * len(payloads)
        with self._turn:
            images = self._decode(streams)
            for place, image in zip(sound, images, strict=True):
                if image is not None:
                    decoded[place] = self._pixels(image).view(image.shape).clone()
            self._keep([image for image in images if image is not None])
        return decoded

    def _parsed(
        self, batch: EncodedBatch, rows: NDArray[np.int64], regions: NDArray[np.int64]
    ) -> tuple[list[Any], NDArray[np.int64]]:
        """Code streams of regions, and their places in ``rows``: where the header is right."""
        streams, places = [], []
        for place, row in enumerate(rows.tolist()):
            stream = self._parse(np.frombuffer(batch.payload(row), np.uint8))
            if stream is None:
                continue
            if (stream.height, stream.width) != (batch.heights[row], batch.widths[row]):
                continue
            x, y, width, height = regions[place].tolist()
            region = self._library.Region(y, x, y + height, x + width)
            streams.append(stream.get_sub_code_stream(region=region))
            places.append(place)
        return streams, np.array(places, np.int64)

    def _parse(self, payload: NDArray[np.uint8]) -> Any:
        """A code stream that refers to the payload; None if it is not a readable JPEG."""
        try:
            stream = self._library.CodeStream(payload)
            return stream if stream.codec_name == "jpeg" else None
        except RuntimeError:  # whatever it is, the CPU's engines will say
            return None

    def _decode(self, streams: list[Any]) -> list[Any]:
        """Decode into memory of earlier batches, as far as there is some."""
        if not streams:
            return []
        kept: list[Any] = []
        if len(self._kept) == _BATCHES_UNDER_WAY:
            kept, copied = self._kept.popleft()
            if copied is not None:
                copied.synchronize()  # on the CPU: the memory may be another stream's
        stream = 0
        if self.device.type == "cuda":
            stream = torch.cuda.current_stream(self.device).cuda_stream
        options = {"params": self._params, "cuda_stream": stream}
        num = min(len(kept), len(streams))
        images: list[Any] = []
        if num:
            images += self._decoder.decode(streams[:num], images=kept[:num], **options)
        if num < len(streams):
            images += self._decoder.decode(streams[num:], **options)
        return images

    def _pixels(self, image: Any) -> torch.Tensor:
        """The bytes of an image: a view of its memory."""
        if self.device.type == "cuda":
            return torch.as_tensor(image, device=self.device).view(-1)
        return torch.from_numpy(np.asarray(image)).view(-1)

    def _keep(self, images: list[Any]) -> None:
        """Use the memory of images again, once the copy that was just asked for is done."""
        if not images:
            return
        copied: torch.cuda.Event | None = None
        if self.device.type == "cuda":
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record(torch.cuda.current_stream(self.device))
        self._kept.append((images, copied))


_decoders: dict[tuple[int, str, int | None, int], NvImageCodec] = {}
_making = threading.Lock()


def nvimgcodec_of(device: torch.device, num_threads: int | None = None) -> NvImageCodec:
    """The process's decoder of a device, made when it is first asked for.

    Parameters
    ----------
    device : device
        A CUDA device, by default the current one, or the CPU.
    num_threads : int, optional
        As for ``NvImageCodec``; each number is a decoder of its own.

    Raises
    ------
    BackendUnavailableError
        If nvImageCodec is not installed.
    """
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    num_threads = num_threads or default_num_threads()
    key = (os.getpid(), device.type, device.index, num_threads)  # a fork makes its own
    with _making:
        if key not in _decoders:
            _decoders[key] = NvImageCodec(device, num_threads)
        return _decoders[key]
