"""Memory-mapped, immutable sample caches: build one from a source, then read batches from it."""

import logging

from slipstream_cache.append import JoinedSource, append
from slipstream_cache.builder import build
from slipstream_cache.cache import SampleCache
from slipstream_cache.derivation import derive
from slipstream_cache.derived import DerivedField, DerivedReader, Recipe, delete_derived
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
from slipstream_cache.legacy import LegacySource, import_v1
from slipstream_cache.locations import cache_key, default_cache_root
from slipstream_cache.page_cache import WarmUp, prefetch, tells_residency, unmap
from slipstream_cache.payloads import Blobs, Payloads, gather, verify_payloads
from slipstream_cache.repair import repair
from slipstream_cache.sample_reader import SampleReader
from slipstream_cache.source import FieldSpec, Source, StorageOptions, StoredImage, Transcode
from slipstream_cache.source_comparison import Problem
from slipstream_cache.stats_files import read_stats, write_stats
from slipstream_cache.value_index import ValueIndex, write_index
from slipstream_cache.views import Concatenation, Subset, concatenate, subset

logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "Blobs",
    "BuildWorkerError",
    "CacheError",
    "CacheExistsError",
    "CacheNotFoundError",
    "CacheWriteError",
    "Codec",
    "Concatenation",
    "Condition",
    "CorruptCacheError",
    "DerivedField",
    "DerivedNotFoundError",
    "DerivedReader",
    "FieldNameError",
    "FieldNotFoundError",
    "FieldSpec",
    "FieldTypeError",
    "ImageFlag",
    "IndexNotFoundError",
    "JoinedSource",
    "LegacySource",
    "ManifestError",
    "Payloads",
    "Problem",
    "Recipe",
    "RepairError",
    "Report",
    "SampleCache",
    "SampleIdError",
    "SampleReader",
    "Source",
    "SourceReadError",
    "StorageOptions",
    "StoredImage",
    "Subset",
    "Transcode",
    "UnsupportedImageError",
    "UnsupportedVersionError",
    "ValueIndex",
    "WarmUp",
    "append",
    "build",
    "cache_key",
    "concatenate",
    "default_cache_root",
    "delete_derived",
    "derive",
    "gather",
    "import_v1",
    "infer_field_types",
    "prefetch",
    "read_stats",
    "repair",
    "subset",
    "tells_residency",
    "unmap",
    "verify",
    "verify_payloads",
    "write_index",
    "write_stats",
]
