"""One file, local or remote, that is read by ranges of bytes.

``s3://`` goes through ``object_store``; ``http://`` and ``https://`` need a server that answers
ranges. Queries and users of a URL are credentials: they never appear in a message.
"""

from __future__ import annotations

import base64
import http.client
import logging
import os
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from slipstream_cache.file_hashes import hash_of_file
from slipstream_loader.errors import (
    RemoteAccessError,
    RemoteError,
    RemoteNotFoundError,
    SampleReadError,
    SourceError,
)
from slipstream_loader.sources.object_store import (
    ObjectInfo,
    ObjectStore,
    is_object_url,
    open_object_store,
)

_logger = logging.getLogger(__name__)

_READ_ONLY: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_ATTEMPTS: Final = 4
_TIMEOUT_S: Final = 60
_RETRIED_CODES: Final = frozenset({408, 429, 500, 502, 503, 504})


class StoredFile(Protocol):
    """A file that is read by ranges, from several threads; it can be pickled."""

    @property
    def is_remote(self) -> bool:
        """Whether a read takes a request over the network."""

    @property
    def uri(self) -> str:
        """Where it is, for people; without credentials."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read(self, start: int, stop: int) -> bytes:
        """Return all bytes from ``start`` to ``stop``, excluded, or raise an OSError."""

    def identity(self) -> str:
        """Name the content: a hash of it, or what a server tells it by."""


def is_url(location: str) -> bool:
    """Tell whether a location is one of the URLs that ``open_stored_file`` opens."""
    return is_object_url(location) or location.startswith(("http://", "https://"))


def without_secrets(location: str) -> str:
    """A path or URL for a message: without user, password and query."""
    scheme, separator, rest = location.partition("://")
    if not separator or is_object_url(location):
        return location
    host, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def open_stored_file(
    location: str | os.PathLike[str],
    storage_options: Mapping[str, Any] | None = None,
    *,
    cache_root: Path | None = None,
) -> StoredFile:
    """Open a file.

    Parameters
    ----------
    location : str or path
        A path, or a URL ``s3://``, ``http://`` or ``https://``.
    storage_options : mapping, optional
        Of an ``s3://`` URL; see ``open_object_store``.
    cache_root : path, optional
        Where the hash of a local file is remembered; default: the caches' root.

    Raises
    ------
    SourceError
        There is no such file, or it is of another kind of place.
    RemoteError
        The server cannot be asked.
    """
    name = os.fspath(location)
    if not is_url(name):
        return LocalFile(Path(name), cache_root)
    if is_object_url(name):
        store = open_object_store(name, storage_options)
        return ObjectFile(store, store.stat())
    return HttpFile(name)


def size_of_file(path: Path) -> int:
    """Bytes of a file of this machine that can be opened; a pipe would be waited for, without end.

    Raises
    ------
    SourceError
        It is not a regular file, or may not be read.
    FileNotFoundError, NotADirectoryError
        There is none.
    """
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            os.close(os.open(path, _READ_ONLY))
            return status.st_size
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise SourceError(f"{path} cannot be opened: {error.strerror}") from error
    raise SourceError(f"{path} is not a regular file")


def _state(status: os.stat_result) -> tuple[int, int, int]:
    """What is another one for another file, or for one that was written to."""
    return status.st_size, status.st_mtime_ns, status.st_ino


class LocalFile:
    """A file of this machine; see ``StoredFile``. A copy of this object opens it anew."""

    is_remote = False

    def __init__(self, path: Path, cache_root: Path | None = None) -> None:
        self._path, self._cache_root = path.expanduser().absolute(), cache_root
        self._descriptor: int | None = None
        self._lock = threading.Lock()
        try:
            self._size = size_of_file(self._path)
            self._state = _state(self._path.stat())
        except OSError as error:
            raise SourceError(f"{self._path} cannot be opened: {error.strerror}") from error
        self._hash: str | None = None

    @property
    def uri(self) -> str:
        """The absolute path."""
        return str(self._path)

    @property
    def size(self) -> int:
        """Bytes."""
        return self._size

    def read(self, start: int, stop: int) -> bytes:
        """See ``StoredFile``."""
        descriptor = self._opened()
        while True:
            data = self._read_at(descriptor, start, stop)
            if _state(os.fstat(descriptor)) == self._state:
                return data
            with self._lock:
                self._accept(descriptor)

    def identity(self) -> str:
        """See ``StoredFile``: the hash, remembered under the caches' root.

        Raises
        ------
        SourceError
            The file is another one than when it was opened.
        """
        found = self._hash_now()
        if _state(self._path.stat()) != self._state and found != self._hash:
            raise SourceError(self._changed())
        self._hash = found
        return f"xxh3 {found}"

    def _opened(self) -> int:
        if self._descriptor is None:
            with self._lock:
                if self._descriptor is None:
                    self._descriptor = self._open()
        return self._descriptor

    def _open(self) -> int:
        try:
            descriptor = os.open(self._path, _READ_ONLY)
        except OSError as error:
            raise SampleReadError(f"{self._path} cannot be opened: {error.strerror}") from error
        try:
            self._accept(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _accept(self, descriptor: int) -> None:
        """Take the file that is open for the one that it was if it holds the same bytes; locked.

        Its time may be another one, and another machine may have a copy of its own.
        """
        state = _state(os.fstat(descriptor))
        if state == self._state:
            return
        may_be_same = self._hash is not None and state[0] == self._size
        if not may_be_same or self._hash_now() != self._hash or _state(self._path.stat()) != state:
            raise SampleReadError(self._changed())
        self._state = state

    def _read_at(self, descriptor: int, start: int, stop: int) -> bytes:
        data = b""
        while len(data) < stop - start:
            more = os.pread(descriptor, stop - start - len(data), start + len(data))
            if not more:
                raise SampleReadError(
                    f"{self._path} ends at byte {start + len(data)}, expected {stop} or more: it "
                    "was changed; open it again"
                )
            data = more if not data else data + more
        return data

    def _hash_now(self) -> str:
        return hash_of_file(self._path, cache_root=self._cache_root)

    def _changed(self) -> str:
        return f"{self._path} was changed since it was opened: open it again"

    def __getstate__(self) -> dict[str, Any]:
        names = ("_path", "_size", "_cache_root", "_state", "_hash")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _descriptor=None, _lock=threading.Lock())

    def __del__(self) -> None:
        descriptor = self.__dict__.get("_descriptor")
        if descriptor is not None:
            os.close(descriptor)


class ObjectFile:
    """An object of an object store, by its name there; see ``StoredFile``."""

    is_remote = True

    def __init__(self, store: ObjectStore, info: ObjectInfo) -> None:
        self._store, self._info = store, info

    @property
    def uri(self) -> str:
        """The URL."""
        return self._store.url_of(self._info.name)

    @property
    def size(self) -> int:
        """Bytes."""
        return self._info.size

    def read(self, start: int, stop: int) -> bytes:
        """See ``StoredFile``."""
        data = self._store.read(self._info.name, start, stop, etag=self._info.etag)
        if len(data) != stop - start:
            raise RemoteError(f"{self.uri} ends at byte {start + len(data)}, expected {stop}")
        return data

    def identity(self) -> str:
        """See ``StoredFile``: ETag and size."""
        return f"etag {self._info.etag} {self._info.size}"


class HttpFile:
    """A file on a web server; see ``StoredFile``."""

    is_remote = True

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            raise SourceError(f"{without_secrets(url)} is no URL: check the host") from None
        user, _, host = parts.netloc.rpartition("@")
        self._url = parts._replace(netloc=host).geturl()
        self._user = base64.b64encode(unquote_to_bytes(user)).decode() if user else None
        self._etag: str | None = None
        self._size = 1
        headers = self._get(0, 1)[1]
        _, _, total = headers.get("Content-Range", "").rpartition("/")
        if not total.isdigit():
            raise RemoteError(f"{self.uri}: the server does not say how large the file is")
        self._size, self._etag = int(total), headers.get("ETag")

    @property
    def uri(self) -> str:
        """The URL without user and query."""
        return without_secrets(self._url)

    @property
    def size(self) -> int:
        """Bytes."""
        return self._size

    def read(self, start: int, stop: int) -> bytes:
        """See ``StoredFile``."""
        return self._get(start, stop)[0] if start < stop else b""

    def identity(self) -> str:
        """See ``StoredFile``: URL, ETag and size.

        The ETag names one of the contents that a URL has had (RFC 9110, 8.8.3): servers make it of
        time and size, so that files at other URLs may have the same.

        Raises
        ------
        SourceError
            The server gives no ETag.
        """
        if self._etag is None:
            raise SourceError(
                f"{self.uri}: the server gives no ETag, so its cache could not be found again; "
                "download the file, and open it from there"
            )
        return f"{self.uri} etag {self._etag} {self._size}"

    def _get(self, start: int, stop: int) -> tuple[bytes, Any]:
        """Ask for a range, several times if need be; returns it with the headers."""
        for attempt in range(_ATTEMPTS):
            try:
                return self._get_once(start, stop)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code not in _RETRIED_CODES or attempt == _ATTEMPTS - 1:
                    raise _explained(self.uri, error) from error
                problem: Exception = error
            except http.client.InvalidURL:  # whose text may hold the query
                raise SourceError(f"{self.uri} is no URL: check host, port and spaces") from None
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                if isinstance(error, RemoteError):
                    raise
                if attempt == _ATTEMPTS - 1:
                    raise RemoteError(f"{self.uri} cannot be read: {error}") from error
                problem = error
            _logger.debug("%s: %s: trying again", self.uri, problem)
            time.sleep(0.1 * 2**attempt)
        raise AssertionError("unreachable")

    def _get_once(self, start: int, stop: int) -> tuple[bytes, Any]:
        request = urllib.request.Request(self._url, headers={"Range": f"bytes={start}-{stop - 1}"})
        if self._user is not None:  # not for the server that a redirection leads to
            request.add_unredirected_header("Authorization", f"Basic {self._user}")
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            if answer.status != 206:
                raise RemoteError(
                    f"{self.uri}: the server answers no ranges; download the file, and open it "
                    "from there"
                )
            if self._etag is not None and answer.headers.get("ETag") != self._etag:
                raise RemoteError(f"{self.uri} was replaced while it was read: open it again")
            data = answer.read()
        if len(data) != stop - start:
            raise http.client.IncompleteRead(data, stop - start - len(data))
        return data, answer.headers


def _explained(uri: str, error: urllib.error.HTTPError) -> RemoteError:
    if error.code in (404, 410):
        return RemoteNotFoundError(f"{uri}: there is no such file; check the URL")
    if error.code in (401, 403):
        return RemoteAccessError(f"{uri}: access was refused ({error.code}); check the URL")
    return RemoteError(f"{uri}: the server answered {error.code} {error.reason}")
