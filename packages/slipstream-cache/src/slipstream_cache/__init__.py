"""Memory-mapped, immutable sample caches: build one from a source, then read batches from it."""

import logging

from slipstream_cache.builder import build
from slipstream_cache.cache import SampleCache
from slipstream_cache.derivation import derive
from slipstream_cache.derived import DerivedField, Recipe, delete_derived
from slipstream_cache.errors import (
    BuildWorkerError,
    CacheError,
    CacheExistsError,
    CacheNotFoundError,
    CacheWriteError,
    CorruptCacheError,
    DerivedNotFoundError,
    FieldNameError,
    FieldNotFoundError,
    FieldTypeError,
    IndexNotFoundError,
    ManifestError,
    RepairError,
    SampleIdError,
    SourceReadError,
    UnsupportedImageError,
    UnsupportedVersionError,
)
from slipstream_cache.field_types import infer_field_types
from slipstream_cache.integrity import Report, verify
from slipstream_cache.layout import Codec, Condition, ImageFlag
from slipstream_cache.locations import cache_key, default_cache_root
from slipstream_cache.payloads import Blobs, Payloads, gather, verify_payloads
from slipstream_cache.repair import repair
from slipstream_cache.source import FieldSpec, Source, StorageOptions, StoredImage, Transcode
from slipstream_cache.source_comparison import Problem
from slipstream_cache.stats_files import read_stats, write_stats
from slipstream_cache.value_index import ValueIndex, write_index

logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "Blobs",
    "BuildWorkerError",
    "CacheError",
    "CacheExistsError",
    "CacheNotFoundError",
    "CacheWriteError",
    "Codec",
    "Condition",
    "CorruptCacheError",
    "DerivedField",
    "DerivedNotFoundError",
    "FieldNameError",
    "FieldNotFoundError",
    "FieldSpec",
    "FieldTypeError",
    "ImageFlag",
    "IndexNotFoundError",
    "ManifestError",
    "Payloads",
    "Problem",
    "Recipe",
    "RepairError",
    "Report",
    "SampleCache",
    "SampleIdError",
    "Source",
    "SourceReadError",
    "StorageOptions",
    "StoredImage",
    "Transcode",
    "UnsupportedImageError",
    "UnsupportedVersionError",
    "ValueIndex",
    "build",
    "cache_key",
    "default_cache_root",
    "delete_derived",
    "derive",
    "gather",
    "infer_field_types",
    "read_stats",
    "repair",
    "verify",
    "verify_payloads",
    "write_index",
    "write_stats",
]
