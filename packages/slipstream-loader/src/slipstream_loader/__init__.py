"""SlipstreamDataset and SlipstreamLoader: any image source to training batches."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "Batch",
    "BetonSource",
    "CacheSource",
    "DatasetArgumentError",
    "EmptyDatasetError",
    "ExportError",
    "FFCVFileReader",
    "FastLoader",
    "FastStreamingDataLoader",
    "HubTables",
    "HuggingFaceSource",
    "ImageDecodeError",
    "ImageFolderSource",
    "IterableSource",
    "LitDataSource",
    "LoaderError",
    "LoaderStats",
    "MDSSource",
    "ManifestSource",
    "MaskCrop",
    "Mixture",
    "PlanarImages",
    "QuasiRandom",
    "RemoteAccessError",
    "RemoteCache",
    "RemoteError",
    "RemoteNotFoundError",
    "SampleReadError",
    "SequenceSource",
    "SlipstreamDataset",
    "SlipstreamHFDataset",
    "SlipstreamImageFolder",
    "SlipstreamLitDataset",
    "SlipstreamLoader",
    "SourceError",
    "StageError",
    "StateError",
    "StreamingDataset",
    "StreamingReader",
    "TableSource",
    "TarSource",
    "WebDatasetSource",
    "build_yuv420_cache",
    "compute_normalization_stats",
    "decode_image",
    "export_beton",
    "export_folder",
    "export_webdataset",
    "get_default_cache_dir",
    "link_shared_directory",
    "list_collate_fn",
    "load_yuv420_cache",
    "mix",
    "open_imagefolder",
    "open_source",
    "prepare_cache",
    "select",
    "show_batch",
    "write_baseline",
    "write_seek_points",
    "write_yuv420",
]

if TYPE_CHECKING:
    from slipstream_loader.baseline import write_baseline
    from slipstream_loader.batches import Batch
    from slipstream_loader.channel_stats import compute_normalization_stats
    from slipstream_loader.collate import list_collate_fn
    from slipstream_loader.dataset import SlipstreamDataset, decode_image
    from slipstream_loader.display import show_batch
    from slipstream_loader.errors import (
        DatasetArgumentError,
        EmptyDatasetError,
        ExportError,
        ImageDecodeError,
        LoaderError,
        RemoteAccessError,
        RemoteError,
        RemoteNotFoundError,
        SampleReadError,
        SourceError,
        StageError,
        StateError,
    )
    from slipstream_loader.exports.beton import export_beton
    from slipstream_loader.exports.folder import export_folder
    from slipstream_loader.exports.webdataset import export_webdataset
    from slipstream_loader.lit_dataset import SlipstreamLitDataset
    from slipstream_loader.loader import SlipstreamLoader
    from slipstream_loader.masks import MaskCrop
    from slipstream_loader.mixture import Mixture, mix
    from slipstream_loader.named_datasets import (
        SlipstreamHFDataset,
        SlipstreamImageFolder,
        open_imagefolder,
    )
    from slipstream_loader.order import QuasiRandom
    from slipstream_loader.prepare import prepare_cache
    from slipstream_loader.remote_cache import RemoteCache
    from slipstream_loader.seed_names import (
        FastLoader,
        FastStreamingDataLoader,
        FFCVFileReader,
        StreamingDataset,
        StreamingReader,
    )
    from slipstream_loader.seek_points import write_seek_points
    from slipstream_loader.shared_directory import get_default_cache_dir, link_shared_directory
    from slipstream_loader.sources.beton import BetonSource
    from slipstream_loader.sources.detect import open_source
    from slipstream_loader.sources.huggingface import HubTables, HuggingFaceSource
    from slipstream_loader.sources.imagefolder import ImageFolderSource
    from slipstream_loader.sources.iterable import IterableSource
    from slipstream_loader.sources.litdata import LitDataSource
    from slipstream_loader.sources.manifest import ManifestSource
    from slipstream_loader.sources.mds import MDSSource
    from slipstream_loader.sources.parquet import TableSource
    from slipstream_loader.sources.prebuilt import CacheSource
    from slipstream_loader.sources.selection import select
    from slipstream_loader.sources.sequence import SequenceSource
    from slipstream_loader.sources.tar import TarSource
    from slipstream_loader.sources.webdataset import WebDatasetSource
    from slipstream_loader.telemetry import LoaderStats
    from slipstream_loader.yuv420 import (
        PlanarImages,
        build_yuv420_cache,
        load_yuv420_cache,
        write_yuv420,
    )
else:
    _MODULES = {
        "Mixture": "mixture",
        "mix": "mixture",
        "ManifestSource": "sources.manifest",
        "MDSSource": "sources.mds",
        "WebDatasetSource": "sources.webdataset",
        "export_webdataset": "exports.webdataset",
        "export_folder": "exports.folder",
        "BetonSource": "sources.beton",
        "ExportError": "errors",
        "FFCVFileReader": "seed_names",
        "export_beton": "exports.beton",
        "CacheSource": "sources.prebuilt",
        "HubTables": "sources.huggingface",
        "HuggingFaceSource": "sources.huggingface",
        "IterableSource": "sources.iterable",
        "TableSource": "sources.parquet",
        "TarSource": "sources.tar",
        "select": "sources.selection",
        "SlipstreamImageFolder": "named_datasets",
        "SlipstreamHFDataset": "named_datasets",
        "open_imagefolder": "named_datasets",
        "MaskCrop": "masks",
        "get_default_cache_dir": "shared_directory",
        "link_shared_directory": "shared_directory",
        "write_baseline": "baseline",
        "write_yuv420": "yuv420",
        "load_yuv420_cache": "yuv420",
        "build_yuv420_cache": "yuv420",
        "PlanarImages": "yuv420",
        "write_seek_points": "seek_points",
        "StreamingDataset": "seed_names",
        "FastLoader": "seed_names",
        "FastStreamingDataLoader": "seed_names",
        "StreamingReader": "seed_names",
        "Batch": "batches",
        "DatasetArgumentError": "errors",
        "EmptyDatasetError": "errors",
        "ImageDecodeError": "errors",
        "ImageFolderSource": "sources.imagefolder",
        "LitDataSource": "sources.litdata",
        "LoaderError": "errors",
        "LoaderStats": "telemetry",
        "QuasiRandom": "order",
        "RemoteAccessError": "errors",
        "RemoteCache": "remote_cache",
        "RemoteError": "errors",
        "RemoteNotFoundError": "errors",
        "SampleReadError": "errors",
        "SequenceSource": "sources.sequence",
        "SlipstreamDataset": "dataset",
        "SlipstreamLitDataset": "lit_dataset",
        "SlipstreamLoader": "loader",
        "SourceError": "errors",
        "StageError": "errors",
        "StateError": "errors",
        "compute_normalization_stats": "channel_stats",
        "decode_image": "dataset",
        "list_collate_fn": "collate",
        "open_source": "sources.detect",
        "prepare_cache": "prepare",
        "show_batch": "display",
    }

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

    def __dir__() -> list[str]:
        return __all__
