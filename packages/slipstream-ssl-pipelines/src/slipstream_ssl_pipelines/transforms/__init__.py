"""Batch transforms, one family a file.

base                 ReplayableStage, ImageTransform, RandomTransform: parameters and replay
draws                distributions over the counter-based random numbers
ranges               options that are a range or one value
chunks               how a transform runs over the rows of a batch
compose              Compose, RandomApply, MultiSample
random_choice        RandomChoice, ThreeAugment
params_as_labels     ParamsAsLabels
conversion           types, devices, axes
flip                 RandomHorizontalFlip, RandomVerticalFlip
grayscale            ToGrayscale, RandomGrayscale
brightness_contrast  RandomBrightness, RandomContrast, RandomSaturation, RandomHue
color_jitter         RandomColorJitter (HSV), RandomColorJitterYIQ, ColorJitter
gaussian_blur        RandomGaussianBlur
solarize             RandomSolarization, RandomPosterize
affine               RandomRotate, RandomZoom, RandomRotateObject, RandomAffine, RandomTranslate
patch_shuffle        RandomPatchShuffle
circular_mask        CircularMask
optical_distortion   FixedOpticalDistortion
erasing              RandomErasing, Cutout
block_masks          BlockMasks
mixup                Mixup (and CutMix), one_hot, mixup_target
auto_augment         RandAugment, TrivialAugment
background           RandomEmbed, RandomBackgroundBlend
color_space          cones and the channels of the LGN
label_ops            ReplaceLabel, ToOneHot, Poison
"""

from __future__ import annotations

from slipstream_decoders import IMAGENET_MEAN, IMAGENET_STD, Normalize, ToTorchImage
from slipstream_ssl_pipelines.transforms.affine import (
    RandomAffine,
    RandomRotate,
    RandomRotateObject,
    RandomTranslate,
    RandomZoom,
)
from slipstream_ssl_pipelines.transforms.auto_augment import (
    RandAugment,
    TrivialAugment,
)
from slipstream_ssl_pipelines.transforms.background import (
    RandomBackgroundBlend,
    RandomEmbed,
)
from slipstream_ssl_pipelines.transforms.base import (
    ImageTransform,
    RandomTransform,
    ReplayableStage,
)
from slipstream_ssl_pipelines.transforms.block_masks import BlockMasks
from slipstream_ssl_pipelines.transforms.brightness_contrast import (
    RandomBrightness,
    RandomContrast,
    RandomHue,
    RandomSaturation,
)
from slipstream_ssl_pipelines.transforms.circular_mask import CircularMask
from slipstream_ssl_pipelines.transforms.color_jitter import (
    ColorJitter,
    RandomColorJitter,
    RandomColorJitterHSV,
    RandomColorJitterYIQ,
)
from slipstream_ssl_pipelines.transforms.color_space import (
    LMSToKonio,
    LMSToMagno,
    LMSToParvo,
    NormalizeLGN,
    RGBToLGN,
    RGBToMagno,
    SRGBToLMS,
)
from slipstream_ssl_pipelines.transforms.compose import (
    Compose,
    MultiSample,
    RandomApply,
)
from slipstream_ssl_pipelines.transforms.conversion import (
    Convert,
    Squeeze,
    ToChannelsFirst,
    ToChannelsLast,
    ToDevice,
    ToFloat,
    ToFloatDiv,
    ToNumpy,
    View,
)
from slipstream_ssl_pipelines.transforms.draws import Draws
from slipstream_ssl_pipelines.transforms.erasing import (
    Cutout,
    RandomErasing,
)
from slipstream_ssl_pipelines.transforms.flip import (
    RandomHorizontalFlip,
    RandomVerticalFlip,
)
from slipstream_ssl_pipelines.transforms.gaussian_blur import RandomGaussianBlur
from slipstream_ssl_pipelines.transforms.grayscale import (
    RandomGrayscale,
    ToGrayscale,
)
from slipstream_ssl_pipelines.transforms.label_ops import (
    Poison,
    ReplaceLabel,
    ToOneHot,
)
from slipstream_ssl_pipelines.transforms.mixup import (
    Mixup,
    mixed,
    mixup_target,
    one_hot,
)
from slipstream_ssl_pipelines.transforms.optical_distortion import FixedOpticalDistortion
from slipstream_ssl_pipelines.transforms.params_as_labels import ParamsAsLabels
from slipstream_ssl_pipelines.transforms.patch_shuffle import RandomPatchShuffle
from slipstream_ssl_pipelines.transforms.random_choice import (
    RandomChoice,
    ThreeAugment,
)
from slipstream_ssl_pipelines.transforms.solarize import (
    RandomPosterize,
    RandomSolarization,
)

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "BlockMasks",
    "CircularMask",
    "ColorJitter",
    "Compose",
    "Convert",
    "Cutout",
    "Draws",
    "FixedOpticalDistortion",
    "ImageTransform",
    "LMSToKonio",
    "LMSToMagno",
    "LMSToParvo",
    "Mixup",
    "MultiSample",
    "Normalize",
    "NormalizeLGN",
    "ParamsAsLabels",
    "Poison",
    "RGBToLGN",
    "RGBToMagno",
    "RandAugment",
    "RandomAffine",
    "RandomApply",
    "RandomBackgroundBlend",
    "RandomBrightness",
    "RandomChoice",
    "RandomColorJitter",
    "RandomColorJitterHSV",
    "RandomColorJitterYIQ",
    "RandomContrast",
    "RandomEmbed",
    "RandomErasing",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomHue",
    "RandomPatchShuffle",
    "RandomPosterize",
    "RandomRotate",
    "RandomRotateObject",
    "RandomSaturation",
    "RandomSolarization",
    "RandomTransform",
    "RandomTranslate",
    "RandomVerticalFlip",
    "RandomZoom",
    "ReplaceLabel",
    "ReplayableStage",
    "SRGBToLMS",
    "Squeeze",
    "ThreeAugment",
    "ToChannelsFirst",
    "ToChannelsLast",
    "ToDevice",
    "ToFloat",
    "ToFloatDiv",
    "ToGrayscale",
    "ToNumpy",
    "ToOneHot",
    "ToTorchImage",
    "TrivialAugment",
    "View",
    "mixed",
    "mixup_target",
    "one_hot",
]
