"""Which part of each image is cropped: one file a law.

center                 centred square of the shorter side
resize_crop            resize of the shorter side + square crop as one fractional window
resize_center          torchvision's Resize + CenterCrop: the crop above in the centre
random_resized         torchvision's RandomResizedCrop
direct_random_resized  the same without rejection
orientation            boxes and pixels under EXIF orientation
"""

from slipstream_decoders.boxes.base import Boxes, whole_image_boxes
from slipstream_decoders.boxes.center import center_boxes
from slipstream_decoders.boxes.direct_random_resized import (
    direct_random_resized_boxes,
    estimate_rejection_fallback_rate,
)
from slipstream_decoders.boxes.random_resized import random_resized_boxes
from slipstream_decoders.boxes.resize_center import resize_center_boxes
from slipstream_decoders.boxes.resize_crop import resize_crop_boxes

__all__ = [
    "Boxes",
    "center_boxes",
    "direct_random_resized_boxes",
    "estimate_rejection_fallback_rate",
    "random_resized_boxes",
    "resize_center_boxes",
    "resize_crop_boxes",
    "whole_image_boxes",
]
