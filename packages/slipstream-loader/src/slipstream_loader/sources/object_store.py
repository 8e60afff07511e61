"""Objects below a URL of an S3 bucket: list them, ask for one, read a range, download one.

All of the loader's reading from S3 goes through ``open_object_store``. How a bucket is reached,
with which credentials, and what its errors mean, is s3sync's: it is imported when a store is
opened, and boto3 when the first request is made.
"""

from __future__ import annotations

import io
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slipstream_loader.errors import (
    RemoteAccessError,
    RemoteError,
    RemoteNotFoundError,
    SourceError,
)

if TYPE_CHECKING:
    from slipstream_s3sync import S3Folder

_logger = logging.getLogger(__name__)

_ATTEMPTS: Final = 4
_BLOCK_BYTES: Final = 1 << 20
_PAST_THE_END_CODES: Final = ("416", "InvalidRange")


def is_object_url(location: str) -> bool:
    """Tell whether a location is in an object store that `open_object_store` opens."""
    return location.startswith("s3://")


def object_store_of(
    location: str | os.PathLike[str] | ObjectStore, storage_options: Mapping[str, Any] | None = None
) -> ObjectStore | None:
    """The store that a location is, or is in; None if it is a path."""
    if isinstance(location, ObjectStore):
        return location
    place = os.fspath(location)
    return open_object_store(place, storage_options) if is_object_url(place) else None


def open_object_store(
    url: str, storage_options: Mapping[str, Any] | None = None, *, profile: str | None = None
) -> ObjectStore:
    """Open what lies below a URL; nothing is requested yet.

    Parameters
    ----------
    url : str
        ``s3://bucket`` or ``s3://bucket/prefix``; the prefix may also be a whole object's key.
    storage_options : mapping, optional
        ``endpoint_url`` (of an S3-compatible service), ``region_name``, ``aws_access_key_id``,
        ``aws_secret_access_key``, ``aws_session_token``, ``verify`` (a file of certificates),
        ``profile``, ``anonymous`` (requests are not signed); or the names of the environment
        variables for these, such as ``AWS_NO_SIGN_REQUEST``; see ``slipstream_s3sync.Connection``.
    profile : str, optional
        A profile of the AWS configuration. ``"wasabi"`` means Wasabi's endpoint; where the
        configuration has no profile of this name, requests are not signed.

    Returns
    -------
    ObjectStore

    Raises
    ------
    SourceError
        When the URL or an option is not of this kind.
    ImportError
        s3sync is not installed.
    """
    s3sync = _s3sync()
    options = {**(storage_options or {}), **({} if profile is None else {"profile": profile})}
    try:
        return ObjectStore(s3sync.S3Folder(url, options))
    except s3sync.S3UrlError as error:
        raise SourceError(str(error)) from error


@dataclass(frozen=True)
class ObjectInfo:
    """An object of a store."""

    name: str
    """Relative to the store's URL, with forward slashes."""
    size: int
    """Bytes."""
    etag: str
    """Changes with the content; often, but not always, the MD5 of the bytes. With its quotes."""


class ObjectStore:
    """The objects below one URL; see `open_object_store`.

    Names are relative to the URL; the empty name is the URL itself. All methods may be called from
    several threads, and after a fork. A pickle holds the options, credentials included if they
    were given.

    Raises
    ------
    RemoteNotFoundError, RemoteAccessError, RemoteError
        By all methods: there is no such object or bucket; it may not be read; the service cannot
        be reached or the transfer failed several times.
    """

    def __init__(self, folder: S3Folder) -> None:
        self._folder = folder

    @property
    def url(self) -> str:
        """Where the objects are; without credentials."""
        return self._folder.url

    @property
    def options(self) -> dict[str, Any]:
        """How the store is reached; this holds credentials if they were given."""
        return dict(self._folder.connection.options)

    def url_of(self, name: str) -> str:
        """Return the URL of an object."""
        return self._folder.url_of(name)

    def list(self) -> Iterator[ObjectInfo]:
        """Yield all objects below the URL, in the order of their names as bytes."""
        with _translated():
            for found in self._folder.list():
                yield ObjectInfo(found.name, found.size, f'"{found.etag}"')

    def stat(self, name: str = "") -> ObjectInfo:
        """Return size and ETag of an object."""
        with _translated():
            head = self._folder.head(name)
        return ObjectInfo(name, int(head["ContentLength"]), head["ETag"])

    def read(
        self, name: str = "", start: int = 0, stop: int | None = None, *, etag: str | None = None
    ) -> bytes:
        """Return the bytes ``start`` to ``stop``, excluded, of an object.

        Parameters
        ----------
        name : str
            The object.
        start, stop : int
            As those of a slice, not negative. What lies behind the object's end is left out.
        etag : str, optional
            Fail if the object has another one, so that several reads belong to one content.
        """
        if stop is not None and stop <= start:
            return b""
        found = io.BytesIO()  # which hands its bytes over, without another copy
        found.writelines(self._blocks(name, start, stop, etag))
        return found.getvalue()

    def download(self, name: str, path: Path, *, etag: str | None = None) -> None:
        """Write an object to a file, which appears when it is complete.

        Parameters
        ----------
        name : str
            The object.
        path : Path
            The file, in a directory that exists; it is replaced if it exists.
        etag : str, optional
            As for `read`.
        """
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
        try:
            with partial.open("wb") as file:
                for block in self.stream(name, etag=etag):
                    file.write(block)
            partial.replace(path)
        finally:
            with suppress(FileNotFoundError):
                partial.unlink()

    def stream(self, name: str = "", *, etag: str | None = None) -> Iterator[bytes]:
        """Yield the bytes of an object in blocks; see `read`."""
        return self._blocks(name, 0, None, etag)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        self._folder.close()

    def __repr__(self) -> str:
        return f"ObjectStore({self.url!r})"

    def _blocks(self, name: str, start: int, stop: int | None, etag: str | None) -> Iterator[bytes]:
        """Yield a range; a transfer that breaks off goes on where it was."""
        position, failures = start, 0
        while True:
            answer = self._get(name, position, stop, etag)
            if answer is None:
                return
            etag = answer["ETag"]
            end = position + int(answer["ContentLength"])
            problem: Exception | None = None
            try:
                while block := answer["Body"].read(_BLOCK_BYTES):
                    position += len(block)
                    failures = 0
                    yield block
                if position >= end:
                    return
            except (OSError, _exceptions().BotoCoreError) as error:
                problem = error
            finally:
                answer["Body"].close()
            if position >= end:  # all bytes came, and yet something is wrong with them
                raise RemoteError(f"{self.url_of(name)}: {problem}") from problem
            failures += 1
            if failures >= _ATTEMPTS:
                raise RemoteError(
                    f"{self.url_of(name)}: the transfer broke off {failures} times at byte "
                    f"{position}, expected {end}: {problem or 'the connection was closed'}"
                ) from problem
            _logger.debug("%s broke off at byte %d: trying again", self.url_of(name), position)
            time.sleep(0.1 * 2**failures)

    def _get(self, name: str, start: int, stop: int | None, etag: str | None) -> Any:
        """Begin a transfer; None where the object ends before it."""
        folder = self._folder
        request: dict[str, str] = {"Bucket": folder.bucket, "Key": folder.key_of(name)}
        if etag is not None:
            request["IfMatch"] = etag
        if start or stop is not None:
            request["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        with _translated(), folder.connection.explained(self.url_of(name)):
            try:
                return folder.connection.client.get_object(**request)
            except _exceptions().ClientError as error:
                if error.response.get("Error", {}).get("Code") in _PAST_THE_END_CODES:
                    return None
                raise


@contextmanager
def _translated() -> Iterator[None]:
    """Turn s3sync's errors into those of sources."""
    s3sync = _s3sync()
    try:
        yield
    except s3sync.S3NotFoundError as error:
        raise RemoteNotFoundError(str(error)) from error
    except s3sync.S3AccessError as error:
        raise RemoteAccessError(str(error)) from error
    except s3sync.S3Error as error:
        raise RemoteError(str(error)) from error


def _exceptions() -> Any:
    from slipstream_s3sync.connection import boto3_parts

    return boto3_parts().exceptions


def _s3sync() -> Any:
    try:
        import slipstream_s3sync
    except ImportError as error:
        raise ImportError(
            "reading from S3 needs s3sync: pip install 'visionlab-slipstream-loader[s3]'"
        ) from error
    return slipstream_s3sync
