"""Objects below a URL of an S3 bucket: list them, ask for one, read a range, download one.

All of the loader's reading from S3 goes through ``open_object_store``. Credentials come from where
every AWS tool finds them (environment, ``~/.aws``, instance roles), unless options say otherwise;
they never appear in a message. boto3 is imported when the first request is made.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from slipstream_loader.errors import (
    RemoteAccessError,
    RemoteError,
    RemoteNotFoundError,
    SourceError,
)

_logger = logging.getLogger(__name__)

WASABI_ENDPOINT: Final = "https://s3.wasabisys.com"
_WASABI: Final = "wasabi"
_OPTIONS: Final = {
    "endpoint_url": ("AWS_ENDPOINT_URL", "S3_ENDPOINT_URL"),
    "region_name": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "aws_access_key_id": ("AWS_ACCESS_KEY_ID",),
    "aws_secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "aws_session_token": ("AWS_SESSION_TOKEN",),
    "verify": ("AWS_CA_BUNDLE",),
    "profile": ("AWS_PROFILE",),
    "anonymous": ("AWS_NO_SIGN_REQUEST",),
}
"""Options of a store and their names as environment variables, which are taken as well."""
_CLIENT_OPTIONS: Final = frozenset(_OPTIONS) - {"profile", "anonymous"}

_ATTEMPTS: Final = 4
_BLOCK_BYTES: Final = 1 << 20
_ACCESS_CODES: Final = (
    "401",
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
)
_MISSING_CODES: Final = ("404", "NoSuchBucket", "NoSuchKey", "NotFound")
_CHANGED_CODES: Final = ("412", "PreconditionFailed")


def is_object_url(location: str) -> bool:
    """Tell whether a location is in an object store that `open_object_store` opens."""
    return location.startswith("s3://")


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
        variables for these, such as ``AWS_NO_SIGN_REQUEST``.
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
    """
    parts = urlsplit(url, allow_fragments=False)
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc:
        raise SourceError(f"{_without_user(url)} is no URL of the form s3://bucket/prefix")
    key = url[len("s3://") + len(parts.netloc) :].strip("/")
    options = _checked_options(storage_options or {})
    if profile is not None:
        options["profile"] = profile
    return ObjectStore(parts.netloc, key, options)


@dataclass(frozen=True)
class ObjectInfo:
    """An object of a store."""

    name: str
    """Relative to the store's URL, with forward slashes."""
    size: int
    """Bytes."""
    etag: str
    """Changes with the content; often, but not always, the MD5 of the bytes."""


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

    def __init__(self, bucket: str, key: str, options: Mapping[str, Any]) -> None:
        self._bucket, self._key, self._options = bucket, key, dict(options)
        self._lock = threading.Lock()
        self._client: Any = None
        self._process = -1

    @property
    def url(self) -> str:
        """Where the objects are; without credentials."""
        return self.url_of("")

    @property
    def options(self) -> dict[str, Any]:
        """How the store is reached; this holds credentials if they were given."""
        return dict(self._options)

    def url_of(self, name: str) -> str:
        """Return the URL of an object."""
        return f"s3://{self._bucket}/{self._key_of(name)}".rstrip("/")

    def list(self) -> Iterator[ObjectInfo]:
        """Yield all objects below the URL, in the order of their names as bytes."""
        prefix = f"{self._key}/" if self._key else ""
        with self._explained(""):
            pages = self._connection().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                for entry in page.get("Contents", ()):
                    name = entry["Key"][len(prefix) :]
                    yield ObjectInfo(name, int(entry["Size"]), entry["ETag"])

    def stat(self, name: str = "") -> ObjectInfo:
        """Return size and ETag of an object."""
        with self._explained(name):
            head = self._connection().head_object(Bucket=self._bucket, Key=self._key_of(name))
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
        data = bytearray()
        for block in self._blocks(name, start, stop, etag):
            data += block
        return bytes(data)

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
        with self._lock:
            client, self._client = self._client, None
            if client is not None and self._process == os.getpid():
                client.close()

    def __getstate__(self) -> tuple[str, str, dict[str, Any]]:
        return self._bucket, self._key, self._options

    def __setstate__(self, state: tuple[str, str, dict[str, Any]]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"ObjectStore({self.url!r})"

    def _key_of(self, name: str) -> str:
        return f"{self._key}/{name}" if self._key and name else self._key or name

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
            except (OSError, _boto3().exceptions.BotoCoreError) as error:
                problem = error
            finally:
                answer["Body"].close()
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
        request: dict[str, str] = {"Bucket": self._bucket, "Key": self._key_of(name)}
        if etag is not None:
            request["IfMatch"] = etag
        if start or stop is not None:
            request["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        try:
            with self._explained(name):
                return self._connection().get_object(**request)
        except _PastTheEndError:
            return None

    def _connection(self) -> Any:
        with self._lock:
            if self._client is None or self._process != os.getpid():
                self._client = _new_client(self._options)
                self._process = os.getpid()
            return self._client

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Turn botocore's errors into ours, which say what to do."""
        url, exceptions = self.url_of(name), _boto3().exceptions
        try:
            yield
        except exceptions.ClientError as error:
            raise _explain(url, str(error.response.get("Error", {}).get("Code", ""))) from error
        except exceptions.BotoCoreError as error:
            endpoint = self._options.get("endpoint_url", "the default endpoint")
            raise _explain_connection(url, error, endpoint) from error


class _PastTheEndError(RemoteError):
    """A range that begins behind the end of an object."""


def _explain(url: str, code: str) -> RemoteError:
    if code in _MISSING_CODES:
        what = "the bucket does not exist" if code == "NoSuchBucket" else "there is no such object"
        return RemoteNotFoundError(f"{url}: {what}; check the URL and the endpoint")
    if code in _ACCESS_CODES:
        return RemoteAccessError(
            f"{url}: access was refused ({code}); check the credentials (environment variables or "
            "profile=), or give storage_options={'anonymous': True} for a public bucket"
        )
    if code in ("416", "InvalidRange"):
        return _PastTheEndError(f"{url}: the range begins behind the end of the object")
    if code in _CHANGED_CODES:
        return RemoteError(f"{url} was replaced while it was read: open the source again")
    return RemoteError(f"{url}: the service answered {code or 'with an error'}")


def _explain_connection(url: str, error: Exception, endpoint: str) -> RemoteError:
    kind = type(error).__name__
    if kind in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
        return RemoteAccessError(
            f"{url}: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, give profile=, or "
            "storage_options={'anonymous': True} for a public bucket"
        )
    return RemoteError(f"{url}: cannot reach {endpoint} ({kind}): check the network and the URL")


class _Boto3(NamedTuple):
    """What is used of it."""

    session: Any
    config: Any
    exceptions: Any
    unsigned: Any


@lru_cache(maxsize=1)
def _boto3() -> _Boto3:
    try:
        import boto3
        import botocore
        import botocore.config
        import botocore.exceptions
    except ImportError as error:
        raise ImportError(
            "reading from S3 needs boto3: pip install 'visionlab-slipstream-loader[s3]'"
        ) from error
    return _Boto3(boto3.Session, botocore.config.Config, botocore.exceptions, botocore.UNSIGNED)


def _new_client(options: Mapping[str, Any]) -> Any:
    client_options = {name: options[name] for name in _CLIENT_OPTIONS if name in options}
    profile, anonymous = options.get("profile"), bool(options.get("anonymous", False))
    if profile == _WASABI:
        client_options.setdefault("endpoint_url", WASABI_ENDPOINT)
        if profile not in _boto3().session().available_profiles:
            profile = None
            anonymous = "aws_access_key_id" not in client_options
    config = _boto3().config(
        retries={"mode": "standard", "max_attempts": _ATTEMPTS},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=64,
        **({"signature_version": _boto3().unsigned} if anonymous else {}),
    )
    session = _boto3().session(profile_name=profile)
    if session.region_name is None:
        client_options.setdefault("region_name", "us-east-1")
    return session.client("s3", config=config, **client_options)


def _checked_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Bring options under their own names; those that are None are left out."""
    canonical = {alias: name for name, aliases in _OPTIONS.items() for alias in (name, *aliases)}
    options: dict[str, Any] = {}
    for name, value in given.items():
        if name not in canonical:
            raise SourceError(
                f"unknown storage option {name!r}; expected {', '.join(_OPTIONS)} or the names of "
                "environment variables such as AWS_ENDPOINT_URL"
            )
        if value is not None:
            options[canonical[name]] = value
    flag = options.get("anonymous", False)
    if isinstance(flag, str):
        options["anonymous"] = flag.strip().lower() in ("1", "yes", "true", "on")
    return options


def _without_user(url: str) -> str:
    """Leave out what may be a password."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
