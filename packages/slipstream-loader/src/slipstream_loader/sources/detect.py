"""What kind of source something is."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from slipstream_cache import SampleCache, SampleReader, Source
from slipstream_loader.errors import EmptyDatasetError, SourceError
from slipstream_loader.sources.access import NO_OPTIONS, AccessOptions
from slipstream_loader.sources.beton import BetonSource, is_beton
from slipstream_loader.sources.file_names import is_image_name
from slipstream_loader.sources.huggingface import (
    HubTables,
    is_hub_url,
    is_hugging_face,
    open_hugging_face,
)
from slipstream_loader.sources.imagefolder import ImageFolderSource
from slipstream_loader.sources.iterable import IterableSource, is_iterable
from slipstream_loader.sources.litdata import NoIndexError, is_litdata, open_litdata
from slipstream_loader.sources.manifest import MANIFEST_EXTENSIONS, ManifestSource
from slipstream_loader.sources.mds import MDSSource, is_mds
from slipstream_loader.sources.object_store import is_object_url, open_object_store
from slipstream_loader.sources.parquet import (
    ARROW_EXTENSIONS,
    LocalTables,
    TableSource,
    holds_tables,
    names_in,
)
from slipstream_loader.sources.prebuilt import is_prebuilt, open_prebuilt
from slipstream_loader.sources.sequence import SequenceSource
from slipstream_loader.sources.shard_names import names_several
from slipstream_loader.sources.stored_file import is_url, open_stored_file, without_secrets
from slipstream_loader.sources.stored_tables import StoredTables, is_table_url
from slipstream_loader.sources.tar import TarSource, is_archive
from slipstream_loader.sources.webdataset import (
    WebDatasetSource,
    archives_in,
    are_shards,
    is_shard,
    why_no_shard,
)

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SUPPORTED: Final = (
    "supported are: a folder of images (in one folder for each class, or all together), a tar "
    "archive of one or shards of WebDataset (also s3:// and https://), a file of FFCV (.beton, "
    ".ffcv; also s3:// and https://), a LitData or MDS data set (also s3://), a list of images "
    "(.csv, .tsv, .jsonl), parquet files (also s3://, https:// and hf://datasets/...), a "
    "slipcache directory, a data set object, an iterable, and any slipstream_cache.Source"
)


def open_source(
    source: Any, access: AccessOptions = NO_OPTIONS, *, name: str | None = None
) -> Source | SampleReader:
    """Open whatever holds samples.

    Parameters
    ----------
    source : str, path, Source, SampleReader or object
        A path or URL of images, an archive, a LitData data set, tables or a slipcache; a map-style
        data set, a ``datasets.Dataset``, a list, or an iterable.
    access : AccessOptions
        How it is reached.
    name : str, optional
        Names the content of an object that has no fingerprint of its own; choose another name when
        the content changes.

    Returns
    -------
    Source or SampleReader
        A cache is opened, not built again. Sources, open caches and views come back as they are.

    Raises
    ------
    SourceError
        When it is nothing of this kind, cannot be read, or is not supported.
    """
    if isinstance(source, (str, os.PathLike)):
        return _open_path(os.fspath(source), access)
    _refuse(access, f"an object of type {type(source).__name__}")
    if isinstance(source, (SampleReader, Source)):
        return source
    if is_hugging_face(source):
        return open_hugging_face(source, name)
    if is_iterable(source):
        return IterableSource(source, name, cache_root=access.cache_root)
    return SequenceSource(source, name)


def _open_path(path: str | bytes, access: AccessOptions) -> Source | SampleCache:
    location = os.fsdecode(path)
    if is_archive(location) and (is_url(location) or not _URL.match(location)):
        return _open_archive(location, access)
    if is_beton(location) and _is_file_or_url(location):
        _refuse_version(access, location)
        return BetonSource(location, storage_options=access.storage_options)
    if is_object_url(location) and location.lower().endswith(MANIFEST_EXTENSIONS):
        _refuse_version(access, location)
        return ManifestSource(location, storage_options=access.storage_options)
    if is_table_url(location):
        return _tables_at(location, access)
    if is_object_url(location):
        store = open_object_store(location, access.storage_options)
        if is_mds(store):
            _refuse_version(access, location)
            return MDSSource(store)
        try:
            return open_litdata(store, access)
        except NoIndexError as error:
            try:
                return _tables_at(location, access)
            except EmptyDatasetError:
                raise SourceError(f"{error} There are no parquet files either") from error
    if is_hub_url(location):
        _refuse(access, location)
        return TableSource(HubTables(location))
    if _URL.match(location):
        raise SourceError(f"{without_secrets(location)}: URLs cannot be opened; {_SUPPORTED}")
    try:
        return _open_local(location, access)
    except PermissionError as error:
        place = error.filename or location
        raise SourceError(f"{place} cannot be read: {error.strerror}") from error


def _open_local(location: str, access: AccessOptions) -> Source | SampleCache:
    directory = Path(location).expanduser()
    if directory.is_file() and directory.suffix.lower() in MANIFEST_EXTENSIONS:
        _refuse(access, location)
        return ManifestSource(directory)
    if directory.is_file() and directory.suffix.lower() in ARROW_EXTENSIONS:
        _refuse(access, location)
        return TableSource(LocalTables(directory, access.cache_root))
    if directory.is_file():
        raise SourceError(f"{directory} is a file; {_SUPPORTED}")
    if not directory.is_dir():
        found = "is not a regular file" if directory.exists() else "does not exist"
        raise SourceError(f"{directory} {found}; {_SUPPORTED}")
    if is_prebuilt(directory):
        _refuse(access, location)
        return open_prebuilt(directory)
    if is_mds(directory):
        _refuse(access, location)
        return MDSSource(directory)
    if is_litdata(directory):
        return open_litdata(directory, access)
    _refuse(access, location)
    archives = archives_in(directory)
    if are_shards(archives):
        return WebDatasetSource(archives, cache_root=access.cache_root)
    if holds_tables(directory):
        return _tables_in(directory, access)
    try:
        return ImageFolderSource(directory, cache_root=access.cache_root)
    except EmptyDatasetError as error:
        if not archives:
            raise
        raise SourceError(f"{error}; {why_no_shard(archives[0])}") from error


def _open_archive(location: str, access: AccessOptions) -> Source:
    """An archive of class folders, or shards of WebDataset."""
    _refuse_version(access, location)
    options, cache_root = access.storage_options, access.cache_root
    several = names_several(location) and (is_url(location) or not os.path.exists(location))
    file = None if several else open_stored_file(location, options, cache_root=cache_root)
    if file is None or is_shard(file):
        return WebDatasetSource(location, storage_options=options, cache_root=cache_root)
    return TarSource(file, cache_root=cache_root)


def _is_file_or_url(location: str) -> bool:
    return is_url(location) or Path(location).expanduser().is_file()


def _tables_at(url: str, access: AccessOptions) -> TableSource:
    _refuse(replace(access, storage_options=None), url)
    return TableSource(StoredTables(url, access.storage_options))


def _tables_in(directory: Path, access: AccessOptions) -> TableSource:
    """The tables of a folder that has no images beside them."""
    if any(map(is_image_name, names_in(directory))):
        raise SourceError(
            f"{directory} holds images and tables: give ImageFolderSource(folder) for the images, "
            "ManifestSource(table) for the images that a table lists, or name the table, or a "
            "folder of tables alone"
        )
    return TableSource(LocalTables(directory, access.cache_root))


def _refuse(access: AccessOptions, what: str) -> None:
    """Raise if there are options that a source of this kind would ignore."""
    if access.given:
        raise SourceError(f"{without_secrets(what)} takes no {' and no '.join(access.given)}")


def _refuse_version(access: AccessOptions, what: str) -> None:
    """Raise if a version is expected of something that has none."""
    if access.expected_version is not None:
        raise SourceError(
            f"{without_secrets(what)} has no version, so it cannot be the one that is expected"
        )
