"""Decoders and stages: every public name of ``slipstream_decoders``, and its earlier names."""

from visionlab.slipstream import _layers

_layers.require("slipstream_decoders")
from slipstream_decoders import *
from visionlab.slipstream import CenterCrop as CenterCrop
from visionlab.slipstream import CenterCropDecoder as CenterCropDecoder
from visionlab.slipstream import Decoder as Decoder
from visionlab.slipstream import DirectRandomResizedCrop as DirectRandomResizedCrop
from visionlab.slipstream import MultiCropRandomResizedCrop as MultiCropRandomResizedCrop
from visionlab.slipstream import MultiRandomResizedCrop as MultiRandomResizedCrop
from visionlab.slipstream import RandomResizeCropDecoder as RandomResizeCropDecoder
from visionlab.slipstream import RandomResizedCrop as RandomResizedCrop
from visionlab.slipstream import RandomResizeShortCropLong as RandomResizeShortCropLong
