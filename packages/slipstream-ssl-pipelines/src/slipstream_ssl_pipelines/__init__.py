"""Presets for supervised and self-supervised learning, and the transforms that they are made of.

A preset is a function that returns the pipelines of a loader. The transforms are in
``slipstream_ssl_pipelines.transforms``: they take batches of images (B, C, H, W) on any device and
draw parameters for each sample from its id, so that a batch's size or place does not matter.
"""

from __future__ import annotations

from slipstream_ssl_pipelines.errors import ImageBatchError, ReplayError, TransformError
from slipstream_ssl_pipelines.presets.masked import ijepa, mae
from slipstream_ssl_pipelines.presets.multicrop import dino, ipcl, lejepa, multicrop
from slipstream_ssl_pipelines.presets.recipe import Preset, Recipe, Step, View, describe
from slipstream_ssl_pipelines.presets.siamese import barlow_twins, byol, mocov3, vicreg
from slipstream_ssl_pipelines.presets.simclr import simclr, simclr_standard, simclr_symmetric
from slipstream_ssl_pipelines.presets.supervised import supervised_train, supervised_val
from slipstream_ssl_pipelines.presets.table import PRESETS

__all__ = [
    "PRESETS",
    "ImageBatchError",
    "Preset",
    "Recipe",
    "ReplayError",
    "Step",
    "TransformError",
    "View",
    "barlow_twins",
    "byol",
    "describe",
    "dino",
    "ijepa",
    "ipcl",
    "lejepa",
    "mae",
    "mocov3",
    "multicrop",
    "simclr",
    "simclr_standard",
    "simclr_symmetric",
    "supervised_train",
    "supervised_val",
    "vicreg",
]
