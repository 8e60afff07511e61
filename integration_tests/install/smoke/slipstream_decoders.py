"""The decoders alone: crop a batch of JPEGs to arrays, where torch is not installed."""

import io
from importlib.util import find_spec

import numpy as np
from PIL import Image

import slipstream_decoders as decoders

assert find_spec("torch") is None
file = io.BytesIO()
Image.new("RGB", (64, 48), (200, 100, 50)).save(file, "JPEG", quality=95)
batch = decoders.EncodedBatch.from_payloads([file.getvalue()] * 3)
boxes = decoders.center_boxes(batch.heights, batch.widths, 32)
context = decoders.BatchContext.standalone(len(batch))
crops = decoders.crop_images(batch, boxes, (32, 32), context)
assert crops.shape == (3, 32, 32, 3)
assert crops.dtype == np.uint8
assert abs(crops.astype(int) - (200, 100, 50)).max() <= 3
