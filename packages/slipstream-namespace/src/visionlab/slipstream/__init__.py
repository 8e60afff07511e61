"""Every public name of slipstream in one place, each loaded when it is first used.

``visionlab.slipstream`` holds no code of its own: a name here is the same object as in the layer
that makes it, and that layer is imported at the first use of the name. Where the layer is not
installed, the ImportError says what to install. ``visionlab`` itself is an implicit namespace
package, so that other distributions can put packages beside this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from visionlab.slipstream._layers import require

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "BatchContext",
    "CenterCrop",
    "CenterCropDecoder",
    "DecodeCenterCrop",
    "DecodeDirectRandomResizedCrop",
    "DecodeMultiRandomResizeShortCropLong",
    "DecodeMultiRandomResizedCrop",
    "DecodeMultiResizeCropEmbed",
    "DecodeOnly",
    "DecodeRandomResizeShortCropLong",
    "DecodeRandomResizedCrop",
    "DecodeResizeCrop",
    "DecodeUniformMultiRandomResizedCrop",
    "DecodeYUVCenterCrop",
    "DecodeYUVFullRes",
    "DecodeYUVPlanes",
    "DecodeYUVRandomResizedCrop",
    "DecodeYUVResizeCrop",
    "Decoder",
    "DirectRandomResizedCrop",
    "FastLoader",
    "FastStreamingDataLoader",
    "FieldSpec",
    "LitDataSource",
    "MultiCropPipeline",
    "MultiCropRandomResizedCrop",
    "MultiRandomResizedCrop",
    "NamedCopies",
    "Normalize",
    "OptimizedCache",
    "QuasiRandom",
    "RandomResizeCropDecoder",
    "RandomResizeShortCropLong",
    "RandomResizedCrop",
    "Recipe",
    "SampleCache",
    "SlipstreamDataset",
    "SlipstreamLitDataset",
    "SlipstreamLoader",
    "Source",
    "Stage",
    "StorageOptions",
    "StreamingDataset",
    "StreamingReader",
    "ToTorchImage",
    "ValueIndex",
    "YUV420NumbaBatchDecoder",
    "append",
    "build",
    "build_yuv420_cache",
    "compute_normalization_stats",
    "concatenate",
    "derive",
    "estimate_rejection_fallback_rate",
    "list_collate_fn",
    "load_yuv420_cache",
    "repair",
    "show_batch",
    "subset",
    "verify",
    "write_index",
]

_LAYER_OF = {
    "FieldSpec": "slipstream_cache",
    "OptimizedCache": "slipstream_cache",
    "Recipe": "slipstream_cache",
    "SampleCache": "slipstream_cache",
    "Source": "slipstream_cache",
    "StorageOptions": "slipstream_cache",
    "ValueIndex": "slipstream_cache",
    "append": "slipstream_cache",
    "build": "slipstream_cache",
    "concatenate": "slipstream_cache",
    "derive": "slipstream_cache",
    "repair": "slipstream_cache",
    "subset": "slipstream_cache",
    "verify": "slipstream_cache",
    "write_index": "slipstream_cache",
    "IMAGENET_MEAN": "slipstream_decoders",
    "IMAGENET_STD": "slipstream_decoders",
    "BatchContext": "slipstream_decoders",
    "CenterCrop": "slipstream_decoders",
    "CenterCropDecoder": "slipstream_decoders",
    "DecodeCenterCrop": "slipstream_decoders",
    "DecodeDirectRandomResizedCrop": "slipstream_decoders",
    "DecodeMultiRandomResizeShortCropLong": "slipstream_decoders",
    "DecodeMultiRandomResizedCrop": "slipstream_decoders",
    "DecodeMultiResizeCropEmbed": "slipstream_decoders",
    "DecodeOnly": "slipstream_decoders",
    "DecodeRandomResizeShortCropLong": "slipstream_decoders",
    "DecodeRandomResizedCrop": "slipstream_decoders",
    "DecodeResizeCrop": "slipstream_decoders",
    "DecodeUniformMultiRandomResizedCrop": "slipstream_decoders",
    "DecodeYUVCenterCrop": "slipstream_decoders",
    "DecodeYUVFullRes": "slipstream_decoders",
    "DecodeYUVPlanes": "slipstream_decoders",
    "DecodeYUVRandomResizedCrop": "slipstream_decoders",
    "DecodeYUVResizeCrop": "slipstream_decoders",
    "YUV420NumbaBatchDecoder": "slipstream_decoders",
    "Decoder": "slipstream_decoders",
    "DirectRandomResizedCrop": "slipstream_decoders",
    "MultiCropPipeline": "slipstream_decoders",
    "MultiCropRandomResizedCrop": "slipstream_decoders",
    "MultiRandomResizedCrop": "slipstream_decoders",
    "NamedCopies": "slipstream_decoders",
    "Normalize": "slipstream_decoders",
    "RandomResizeCropDecoder": "slipstream_decoders",
    "RandomResizeShortCropLong": "slipstream_decoders",
    "RandomResizedCrop": "slipstream_decoders",
    "Stage": "slipstream_decoders",
    "ToTorchImage": "slipstream_decoders",
    "estimate_rejection_fallback_rate": "slipstream_decoders",
    "FastLoader": "slipstream_loader",
    "FastStreamingDataLoader": "slipstream_loader",
    "LitDataSource": "slipstream_loader",
    "QuasiRandom": "slipstream_loader",
    "SlipstreamDataset": "slipstream_loader",
    "SlipstreamLitDataset": "slipstream_loader",
    "SlipstreamLoader": "slipstream_loader",
    "StreamingDataset": "slipstream_loader",
    "StreamingReader": "slipstream_loader",
    "load_yuv420_cache": "slipstream_loader",
    "build_yuv420_cache": "slipstream_loader",
    "compute_normalization_stats": "slipstream_loader",
    "list_collate_fn": "slipstream_loader",
    "show_batch": "slipstream_loader",
}
_RENAMED = {  # names of earlier versions -> their names in the layers
    "CenterCrop": "DecodeCenterCrop",
    "CenterCropDecoder": "DecodeCenterCrop",
    "Decoder": "DecodeOnly",
    "DirectRandomResizedCrop": "DecodeDirectRandomResizedCrop",
    "MultiCropRandomResizedCrop": "DecodeUniformMultiRandomResizedCrop",
    "MultiRandomResizedCrop": "DecodeMultiRandomResizedCrop",
    "OptimizedCache": "SampleCache",
    "RandomResizeCropDecoder": "DecodeRandomResizedCrop",
    "RandomResizeShortCropLong": "DecodeRandomResizeShortCropLong",
    "RandomResizedCrop": "DecodeRandomResizedCrop",
}

if TYPE_CHECKING:
    from slipstream_cache import (
        FieldSpec,
        Recipe,
        SampleCache,
        Source,
        StorageOptions,
        ValueIndex,
        append,
        build,
        concatenate,
        derive,
        repair,
        subset,
        verify,
        write_index,
    )
    from slipstream_cache import SampleCache as OptimizedCache
    from slipstream_decoders import (
        IMAGENET_MEAN,
        IMAGENET_STD,
        BatchContext,
        DecodeCenterCrop,
        DecodeDirectRandomResizedCrop,
        DecodeMultiRandomResizedCrop,
        DecodeMultiRandomResizeShortCropLong,
        DecodeMultiResizeCropEmbed,
        DecodeOnly,
        DecodeRandomResizedCrop,
        DecodeRandomResizeShortCropLong,
        DecodeResizeCrop,
        DecodeUniformMultiRandomResizedCrop,
        DecodeYUVCenterCrop,
        DecodeYUVFullRes,
        DecodeYUVPlanes,
        DecodeYUVRandomResizedCrop,
        DecodeYUVResizeCrop,
        MultiCropPipeline,
        NamedCopies,
        Normalize,
        Stage,
        ToTorchImage,
        YUV420NumbaBatchDecoder,
        estimate_rejection_fallback_rate,
    )
    from slipstream_decoders import DecodeCenterCrop as CenterCrop
    from slipstream_decoders import DecodeCenterCrop as CenterCropDecoder
    from slipstream_decoders import DecodeDirectRandomResizedCrop as DirectRandomResizedCrop
    from slipstream_decoders import DecodeMultiRandomResizedCrop as MultiRandomResizedCrop
    from slipstream_decoders import DecodeOnly as Decoder
    from slipstream_decoders import DecodeRandomResizedCrop as RandomResizeCropDecoder
    from slipstream_decoders import DecodeRandomResizedCrop as RandomResizedCrop
    from slipstream_decoders import DecodeRandomResizeShortCropLong as RandomResizeShortCropLong
    from slipstream_decoders import (
        DecodeUniformMultiRandomResizedCrop as MultiCropRandomResizedCrop,
    )
    from slipstream_loader import (
        FastLoader,
        FastStreamingDataLoader,
        LitDataSource,
        QuasiRandom,
        SlipstreamDataset,
        SlipstreamLitDataset,
        SlipstreamLoader,
        StreamingDataset,
        StreamingReader,
        build_yuv420_cache,
        compute_normalization_stats,
        list_collate_fn,
        load_yuv420_cache,
        show_batch,
    )
else:  # out of sight of type checkers, which would take any misspelt name for one of ours

    def __getattr__(name):
        if name not in _LAYER_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(require(_LAYER_OF[name]), _RENAMED.get(name, name))
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
