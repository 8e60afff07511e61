"""``StoredSource``: a source, how a cache stores it, and where that cache is. It needs no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slipstream_cache import (
    FieldSpec,
    SampleCache,
    SampleReader,
    Source,
    StorageOptions,
    cache_key,
    default_cache_root,
)
from slipstream_cache.field_types import select_fields
from slipstream_loader.errors import DatasetArgumentError
from slipstream_loader.sources import open_source
from slipstream_loader.sources.access import AccessOptions
from slipstream_loader.sources.prebuilt import CacheSource


@dataclass(frozen=True)
class StoredSource:
    """What a cache is found by, or built from."""

    source: Source | SampleReader
    storage_options: StorageOptions
    cache_root: Path
    """Directory that holds caches."""

    @classmethod
    def open(
        cls,
        source: Any,
        cache_dir: str | os.PathLike[str] | None = None,
        storage_options: StorageOptions | None = None,
        *,
        access: Mapping[str, Any] | None = None,
        expected_version: str | None = None,
        name: str | None = None,
    ) -> StoredSource:
        """Open whatever holds samples; nothing is built.

        Parameters
        ----------
        source : str, path, Source, SampleReader or sequence of dicts
            See ``open_source``.
        cache_dir : path, optional
            Directory that holds caches. Default: ``$SLIPSTREAM_CACHE_DIR``, else ``~/.slipstream``.
        storage_options : StorageOptions, optional
            Default: everything as it is. With options, a cache or view is stored again.
        access : mapping, optional
            How remote sources are reached; see ``AccessOptions``.
        expected_version, name : str, optional
            See ``open_source``.

        Raises
        ------
        DatasetArgumentError
            When a name is given to what is known by its own content.
        SourceError
            When the source cannot be opened.
        """
        if name is not None and isinstance(source, (str, os.PathLike, Source, SampleReader)):
            raise DatasetArgumentError(
                f"name={name!r} would name the content of an object in memory, but paths, URLs and "
                "sources are known by their own: leave it out"
            )
        root = default_cache_root() if cache_dir is None else Path(cache_dir)
        root = root.expanduser().absolute()
        opened = open_source(source, AccessOptions(access, expected_version, root), name=name)
        if not isinstance(opened, SampleReader):
            return cls(opened, storage_options or StorageOptions(), root)
        if storage_options is not None:
            return cls(CacheSource(opened), storage_options, root)
        options = opened.caches[0].manifest.options
        if not isinstance(opened, SampleCache):  # a view decides itself about fields
            options = replace(options, fields=None)
        return cls(opened, options, root)

    @property
    def cache_path(self) -> Path:
        """Directory of the cache, whether it exists or not.

        The source's fingerprint is computed here when it is first needed.

        Raises
        ------
        DatasetArgumentError
            When the source is a view of caches, which is not stored anywhere.
        """
        if isinstance(self.source, SampleCache):
            return self.source.cache_dir
        if isinstance(self.source, SampleReader):
            raise DatasetArgumentError(
                "a view of caches has no directory of its own; its caches are in "
                f"{[str(cache.cache_dir) for cache in self.source.caches]}"
            )
        key = cache_key(self.source.fingerprint(), self.storage_options)
        return self.cache_root / f"slipcache-{key}"

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The stored fields, in order."""
        source = self.source
        fields = source.fields if isinstance(source, SampleReader) else source.field_types
        return select_fields(fields, self.storage_options.fields)

    def __len__(self) -> int:
        return len(self.source)
