"""``S3Folder``: the objects below a URL, one request at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from slipstream_s3sync.connection import Connection, boto3_parts
from slipstream_s3sync.errors import S3Error, S3NotFoundError, S3UrlError

_TAKEN_CODES: Final = ("412", "409", "PreconditionFailed", "ConditionalRequestConflict")
_NO_CONDITION_CODES: Final = ("501", "400", "NotImplemented", "InvalidArgument", "InvalidRequest")
_MAX_DELETED: Final = 1000


@dataclass(frozen=True)
class StoredObject:
    """An object of a bucket."""

    name: str
    """Relative to the folder's URL, with forward slashes."""
    size: int
    """Bytes."""
    etag: str
    """Without quotes. The MD5 of the bytes, if it was uploaded in one piece and without a key."""
    modified: datetime
    """When it was written last."""


class S3Folder:
    """The objects below ``s3://bucket/prefix``.

    Names are relative to the URL; the empty name is the URL itself. Nothing is requested before a
    method is called. All methods may be called from several threads, and after a fork.

    Parameters
    ----------
    url : str
        ``s3://bucket`` or ``s3://bucket/prefix``.
    options : mapping or Connection, optional
        How the bucket is reached; see `Connection`. Folders may share one.

    Raises
    ------
    S3UrlError
        The URL or an option is not of this form.
    S3NotFoundError, S3AccessError, S3ConnectionError, S3Error
        By all methods that make requests.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | Connection | None = None) -> None:
        parts = urlsplit(url, allow_fragments=False)
        if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc:
            raise S3UrlError(f"{_without_user(url)} is no URL of the form s3://bucket/prefix")
        self.bucket: str = parts.netloc
        self.prefix: str = url[len("s3://") + len(parts.netloc) :].strip("/")
        self.connection = options if isinstance(options, Connection) else Connection(options)

    @property
    def url(self) -> str:
        """Where the objects are, without a slash at its end."""
        return self.url_of("")

    def url_of(self, name: str) -> str:
        """Return the URL of an object."""
        return f"s3://{self.bucket}/{self.key_of(name)}".rstrip("/")

    def key_of(self, name: str) -> str:
        """Return the key of an object."""
        return f"{self.prefix}/{name}" if self.prefix and name else self.prefix or name

    def list(self, below: str = "") -> Iterator[StoredObject]:
        """Yield all objects whose names begin with ``below``, sorted by their names as bytes."""
        start = f"{self.prefix}/" if self.prefix else ""
        with self.connection.explained(self.url_of(below)):
            pages = self.connection.client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=start + below):
                for entry in page.get("Contents", ()):
                    name = entry["Key"][len(start) :]
                    size, etag = int(entry["Size"]), entry["ETag"].strip('"')
                    yield StoredObject(name, size, etag, entry["LastModified"])

    def stat(self, name: str) -> StoredObject | None:
        """Return what is known of an object; None if there is none."""
        try:
            head = self.head(name)
        except S3NotFoundError:
            return None
        etag = head["ETag"].strip('"')
        return StoredObject(name, int(head["ContentLength"]), etag, head["LastModified"])

    def head(self, name: str) -> Any:
        """Return boto3's answer to a request for an object's headers."""
        with self.connection.explained(self.url_of(name)):
            return self.connection.client.head_object(Bucket=self.bucket, Key=self.key_of(name))

    def check(self) -> None:
        """Raise unless the bucket can be listed: one request."""
        with self.connection.explained(self.url):
            self.connection.client.list_objects_v2(
                Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1
            )

    def read(self, name: str) -> bytes:
        """Return the bytes of a small object."""
        with self.connection.explained(self.url_of(name)):
            answer = self.connection.client.get_object(Bucket=self.bucket, Key=self.key_of(name))
            with answer["Body"] as body:
                return bytes(body.read())

    def create(self, name: str, data: bytes) -> bool:
        """Write a small object unless there is one.

        Returns
        -------
        bool
            Whether it was written. Where the service knows no conditional writes, or does not make
            them atomic, two writers at the same time may both be told so; the last one stays.
        """
        request = {"Bucket": self.bucket, "Key": self.key_of(name), "Body": data}
        client, exceptions = self.connection.client, boto3_parts().exceptions
        with self.connection.explained(self.url_of(name)):
            try:
                client.put_object(**request, IfNoneMatch="*")
            except exceptions.ClientError as error:
                code = str(error.response.get("Error", {}).get("Code", ""))
                if code in _TAKEN_CODES:
                    return False
                if code not in _NO_CONDITION_CODES:
                    raise
            except exceptions.ParamValidationError:  # a boto3 that does not know the condition
                pass
            else:
                return True
            if self.stat(name) is not None:
                return False
            client.put_object(**request)
            return True

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; those that do not exist are passed over.

        Raises
        ------
        S3Error
            Some of them could not be deleted.
        """
        for begin in range(0, len(names), _MAX_DELETED):
            some = [{"Key": self.key_of(name)} for name in names[begin : begin + _MAX_DELETED]]
            with self.connection.explained(self.url):
                answer = self.connection.client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": some, "Quiet": True}
                )
            failed = answer.get("Errors", ())
            if failed:
                first = failed[0]
                raise S3Error(
                    f"{self.url}: {len(failed)} objects could not be deleted; the first is "
                    f"{first.get('Key')}: {first.get('Code')}"
                )

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        self.connection.close()

    def __repr__(self) -> str:
        return f"S3Folder({self.url!r})"


def _without_user(url: str) -> str:
    """Leave out what may be a password."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
