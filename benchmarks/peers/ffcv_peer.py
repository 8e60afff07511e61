"""FFCV: JPEG payloads in a .beton, the very bytes of the files, warm in the page cache."""

from __future__ import annotations

import tempfile
from pathlib import Path

import ffcv.fields.rgb_image as rgb_image
import numpy as np
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.writer import DatasetWriter
from PIL import Image
from turns import arguments, photo_paths, serve

options = arguments()
paths = photo_paths(options)
payload = b""


class Photos:
    """Decoded photos; the bytes of the last one are kept for the writer."""

    def __len__(self) -> int:
        return len(paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        global payload
        payload = paths[index].read_bytes()
        return Image.open(paths[index]).convert("RGB"), index


def stored_bytes(image: np.ndarray, quality: int) -> np.ndarray:
    """Stands in for the writer's encoder: the bytes of the file that was just read."""
    del image, quality
    return np.frombuffer(payload, np.uint8)


rgb_image.encode_jpeg = stored_bytes

beton = Path(tempfile.mkdtemp()) / "photos.beton"
fields = {"image": RGBImageField(write_mode="jpg"), "label": IntField()}
DatasetWriter(str(beton), fields, num_workers=2).from_indexed_dataset(Photos())
if options.work == "rrc":
    decoder = RandomResizedCropRGBImageDecoder((224, 224))
else:
    decoder = CenterCropRGBImageDecoder((224, 224), 224 / 256)
loader = Loader(
    str(beton),
    batch_size=options.batch_size,
    num_workers=options.threads,
    order=OrderOption.RANDOM,
    os_cache=True,
    drop_last=False,
    pipelines={"image": [decoder], "label": [IntDecoder()]},
)
serve(lambda: sum(len(batch[0]) for batch in loader))
