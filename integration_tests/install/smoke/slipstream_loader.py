"""The loader with what it requires: one epoch over images in memory, through both spellings."""

import io
import tempfile

import numpy as np
from PIL import Image

import slipstream
from visionlab.slipstream import Normalize, RandomResizedCrop, SlipstreamDataset, SlipstreamLoader


def jpeg(level):
    """A grey JPEG."""
    file = io.BytesIO()
    Image.fromarray(np.full((40, 60, 3), level, np.uint8)).save(file, "JPEG")
    return file.getvalue()


assert slipstream.SlipstreamLoader is SlipstreamLoader
samples = [{"image": jpeg(20 * label), "label": label} for label in range(6)]
with tempfile.TemporaryDirectory() as folder:
    dataset = SlipstreamDataset(samples, cache_dir=folder)
    pipelines = {"image": [RandomResizedCrop(32), Normalize()]}
    loader = SlipstreamLoader(dataset, batch_size=3, pipelines=pipelines)
    batches = list(loader)
    assert sorted(int(label) for batch in batches for label in batch["label"]) == list(range(6))
    assert {tuple(batch["image"].shape) for batch in batches} == {(3, 3, 32, 32)}
    loader.shutdown()
