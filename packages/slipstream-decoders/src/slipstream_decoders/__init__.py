"""Batched image decoding, cropping and resizing at full CPU speed.

Start with a stage, such as ``DecodeRandomResizedCrop``; ``crop_images`` is the decoder beneath it.
Importing this package imports neither torch nor numba: names are loaded when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "PIXELS_PER_POINT",
    "BackendUnavailableError",
    "BaselineJpegs",
    "BatchContext",
    "Boxes",
    "BufferPool",
    "CPUDecoder",
    "CorruptImageError",
    "DecodeCenterCrop",
    "DecodeDirectRandomResizedCrop",
    "DecodeError",
    "DecodeMultiRandomResizeShortCropLong",
    "DecodeMultiRandomResizedCrop",
    "DecodeMultiResizeCropEmbed",
    "DecodeOnly",
    "DecodeRandomResizeShortCropLong",
    "DecodeRandomResizedCrop",
    "DecodeResizeCrop",
    "DecodeStatus",
    "DecodeUniformMultiRandomResizedCrop",
    "DecodeYUVCenterCrop",
    "DecodeYUVFullRes",
    "DecodeYUVPlanes",
    "DecodeYUVRandomResizedCrop",
    "DecodeYUVResizeCrop",
    "EncodedBatch",
    "GPUDecoder",
    "GPUDecoderFallback",
    "MultiCropPipeline",
    "NamedCopies",
    "Normalize",
    "Output",
    "PixelForm",
    "SeekPoints",
    "Stage",
    "StageLike",
    "ToTorchImage",
    "UnsupportedImageError",
    "View",
    "YUV420NumbaBatchDecoder",
    "Yuv420Images",
    "adopt_engines",
    "apply_stage",
    "as_yuv420",
    "build_seek_points",
    "build_yuv420",
    "center_boxes",
    "channel_sums",
    "check_gpu_decoder_available",
    "convert_to_baseline",
    "convert_yuv420",
    "crop_images",
    "crop_views",
    "decode_images",
    "default_num_threads",
    "direct_random_resized_boxes",
    "engine_choices",
    "estimate_rejection_fallback_rate",
    "find_turbojpeg",
    "fused_stages",
    "get_decoder",
    "named_stages",
    "native_header_statuses",
    "placed_stage",
    "random_resized_boxes",
    "resize_center_boxes",
    "resize_crop_boxes",
    "rgb_to_yuv420",
    "run_stages",
    "stage_engine",
    "stream_key",
    "uniforms",
    "whole_image_boxes",
    "words",
    "yuv420_planes",
    "yuv420_size",
    "yuv420_to_rgb",
    "yuv420_to_yuv",
]

if TYPE_CHECKING:
    from slipstream_decoders._turbojpeg.library import (
        find_turbojpeg,
    )
    from slipstream_decoders.baseline import (
        BaselineJpegs,
        convert_to_baseline,
    )
    from slipstream_decoders.batch import (
        EncodedBatch,
    )
    from slipstream_decoders.boxes import (
        Boxes,
        center_boxes,
        direct_random_resized_boxes,
        estimate_rejection_fallback_rate,
        random_resized_boxes,
        resize_center_boxes,
        resize_crop_boxes,
        whole_image_boxes,
    )
    from slipstream_decoders.buffers import (
        BufferPool,
    )
    from slipstream_decoders.context import (
        BatchContext,
    )
    from slipstream_decoders.decode import (
        crop_images,
        crop_views,
        decode_images,
    )
    from slipstream_decoders.errors import (
        BackendUnavailableError,
        CorruptImageError,
        DecodeError,
        UnsupportedImageError,
    )
    from slipstream_decoders.native_headers import (
        native_header_statuses,
    )
    from slipstream_decoders.pixel_form import (
        PixelForm,
    )
    from slipstream_decoders.pixel_sums import (
        channel_sums,
    )
    from slipstream_decoders.rng import (
        stream_key,
        uniforms,
        words,
    )
    from slipstream_decoders.seek_points import (
        PIXELS_PER_POINT,
        SeekPoints,
        build_seek_points,
    )
    from slipstream_decoders.stages.base import (
        Stage,
        StageLike,
        apply_stage,
        fused_stages,
        named_stages,
        run_stages,
    )
    from slipstream_decoders.stages.center_crop import (
        DecodeCenterCrop,
    )
    from slipstream_decoders.stages.decode_only import (
        DecodeOnly,
    )
    from slipstream_decoders.stages.decoders import (
        CPUDecoder,
        GPUDecoder,
        GPUDecoderFallback,
        check_gpu_decoder_available,
        get_decoder,
    )
    from slipstream_decoders.stages.device.choose import (
        adopt_engines,
        engine_choices,
    )
    from slipstream_decoders.stages.direct_random_resized import (
        DecodeDirectRandomResizedCrop,
    )
    from slipstream_decoders.stages.embed import (
        DecodeMultiResizeCropEmbed,
    )
    from slipstream_decoders.stages.multi_crop import (
        DecodeMultiRandomResizedCrop,
        DecodeMultiRandomResizeShortCropLong,
        DecodeUniformMultiRandomResizedCrop,
    )
    from slipstream_decoders.stages.normalize import (
        IMAGENET_MEAN,
        IMAGENET_STD,
        Normalize,
    )
    from slipstream_decoders.stages.output import (
        Output,
    )
    from slipstream_decoders.stages.random_resized import (
        DecodeRandomResizedCrop,
    )
    from slipstream_decoders.stages.resize_crop import (
        DecodeResizeCrop,
    )
    from slipstream_decoders.stages.short_long import (
        DecodeRandomResizeShortCropLong,
    )
    from slipstream_decoders.stages.to_torch_image import (
        ToTorchImage,
    )
    from slipstream_decoders.stages.views import (
        MultiCropPipeline,
        NamedCopies,
        placed_stage,
        stage_engine,
    )
    from slipstream_decoders.stages.yuv import (
        DecodeYUVFullRes,
        DecodeYUVPlanes,
    )
    from slipstream_decoders.stages.yuv_crops import (
        DecodeYUVCenterCrop,
        DecodeYUVRandomResizedCrop,
        DecodeYUVResizeCrop,
    )
    from slipstream_decoders.status import (
        DecodeStatus,
    )
    from slipstream_decoders.threads import (
        default_num_threads,
    )
    from slipstream_decoders.views import (
        View,
    )
    from slipstream_decoders.yuv420 import (
        rgb_to_yuv420,
        yuv420_planes,
        yuv420_size,
        yuv420_to_rgb,
        yuv420_to_yuv,
    )
    from slipstream_decoders.yuv420_decoder import (
        YUV420NumbaBatchDecoder,
        convert_yuv420,
    )
    from slipstream_decoders.yuv420_encoding import (
        Yuv420Images,
        as_yuv420,
        build_yuv420,
    )
else:
    _MODULES = {
        "convert_yuv420": "yuv420_decoder",
        "as_yuv420": "yuv420_encoding",
        "yuv420_to_yuv": "yuv420",
        "yuv420_to_rgb": "yuv420",
        "yuv420_size": "yuv420",
        "yuv420_planes": "yuv420",
        "rgb_to_yuv420": "yuv420",
        "build_yuv420": "yuv420_encoding",
        "Yuv420Images": "yuv420_encoding",
        "YUV420NumbaBatchDecoder": "yuv420_decoder",
        "DecodeYUVPlanes": "stages.yuv",
        "DecodeYUVFullRes": "stages.yuv",
        "DecodeYUVResizeCrop": "stages.yuv_crops",
        "DecodeYUVRandomResizedCrop": "stages.yuv_crops",
        "DecodeYUVCenterCrop": "stages.yuv_crops",
        "CPUDecoder": "stages.decoders",
        "GPUDecoder": "stages.decoders",
        "GPUDecoderFallback": "stages.decoders",
        "adopt_engines": "stages.device.choose",
        "check_gpu_decoder_available": "stages.decoders",
        "engine_choices": "stages.device.choose",
        "get_decoder": "stages.decoders",
        "BackendUnavailableError": "errors",
        "BaselineJpegs": "baseline",
        "BatchContext": "context",
        "Boxes": "boxes",
        "BufferPool": "buffers",
        "CorruptImageError": "errors",
        "DecodeCenterCrop": "stages.center_crop",
        "DecodeDirectRandomResizedCrop": "stages.direct_random_resized",
        "DecodeError": "errors",
        "DecodeMultiRandomResizeShortCropLong": "stages.multi_crop",
        "DecodeMultiRandomResizedCrop": "stages.multi_crop",
        "DecodeMultiResizeCropEmbed": "stages.embed",
        "DecodeOnly": "stages.decode_only",
        "DecodeRandomResizeShortCropLong": "stages.short_long",
        "DecodeRandomResizedCrop": "stages.random_resized",
        "DecodeResizeCrop": "stages.resize_crop",
        "DecodeStatus": "status",
        "DecodeUniformMultiRandomResizedCrop": "stages.multi_crop",
        "EncodedBatch": "batch",
        "IMAGENET_MEAN": "stages.normalize",
        "IMAGENET_STD": "stages.normalize",
        "MultiCropPipeline": "stages.views",
        "NamedCopies": "stages.views",
        "Normalize": "stages.normalize",
        "Output": "stages.output",
        "PIXELS_PER_POINT": "seek_points",
        "PixelForm": "pixel_form",
        "SeekPoints": "seek_points",
        "Stage": "stages.base",
        "StageLike": "stages.base",
        "ToTorchImage": "stages.to_torch_image",
        "UnsupportedImageError": "errors",
        "View": "views",
        "apply_stage": "stages.base",
        "build_seek_points": "seek_points",
        "center_boxes": "boxes",
        "channel_sums": "pixel_sums",
        "convert_to_baseline": "baseline",
        "crop_images": "decode",
        "crop_views": "decode",
        "decode_images": "decode",
        "default_num_threads": "threads",
        "direct_random_resized_boxes": "boxes",
        "estimate_rejection_fallback_rate": "boxes",
        "find_turbojpeg": "_turbojpeg.library",
        "fused_stages": "stages.base",
        "named_stages": "stages.base",
        "placed_stage": "stages.views",
        "stage_engine": "stages.views",
        "native_header_statuses": "native_headers",
        "random_resized_boxes": "boxes",
        "resize_center_boxes": "boxes",
        "resize_crop_boxes": "boxes",
        "run_stages": "stages.base",
        "stream_key": "rng",
        "uniforms": "rng",
        "whole_image_boxes": "boxes",
        "words": "rng",
    }

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

    def __dir__() -> list[str]:
        return __all__
