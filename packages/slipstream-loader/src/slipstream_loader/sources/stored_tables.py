"""Parquet files at a URL: one, or all below a prefix of an object store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from slipstream_loader.sources.object_store import open_object_store
from slipstream_loader.sources.ranged_file import RangedFile
from slipstream_loader.sources.stored_file import ObjectFile, StoredFile, is_url, open_stored_file
from slipstream_loader.sources.table_splits import files_of_split

_EXTENSION: Final = ".parquet"


def is_table_url(location: str) -> bool:
    """Tell whether a location is the URL of a parquet file."""
    return is_url(location) and urlsplit(location).path.lower().endswith(_EXTENSION)


class StoredTables:
    """The parquet files at a URL; see ``TableFiles``.

    Parameters
    ----------
    url : str
        Of a file (``s3://``, ``http://``, ``https://``), or a prefix ``s3://bucket/folder``.
    storage_options : mapping, optional
        Of an ``s3://`` URL; see ``open_object_store``.

    Raises
    ------
    SourceError
        There is no such file, or the files below the prefix leave a choice.
    RemoteError
        The server cannot be asked.
    """

    is_remote = True

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self._files: dict[str, StoredFile]
        if is_table_url(url):
            file = open_stored_file(url, storage_options)
            self.uri, self._files = file.uri, {"": file}
        else:
            store = open_object_store(url, storage_options)
            self.uri = store.url
            found = {info.name: ObjectFile(store, info) for info in store.list()}
            tables = [name for name in found if name.lower().endswith(_EXTENSION)]
            chosen = files_of_split(sorted(tables), None, self.uri)
            self._files = {name: found[name] for name in chosen}
        self.names = list(self._files)

    def open(self, name: str) -> RangedFile:
        """See ``TableFiles``."""
        return RangedFile(self._files[name])

    def identity(self) -> str:
        """See ``TableFiles``: the ETags."""
        return " ".join(file.identity() for file in self._files.values())
