"""What can go wrong between here and a bucket.

::

    S3Error (OSError)
    ├── S3UrlError (ValueError)              not a URL of the form s3://bucket/prefix, or an option
    ├── S3NotFoundError (FileNotFoundError)  there is no such bucket or object
    ├── S3AccessError (PermissionError)      credentials are missing, wrong, or not sufficient
    ├── S3ConnectionError (ConnectionError)  the endpoint or the network does not answer
    ├── IntegrityError                       an object or file has other bytes than expected
    └── TransferError                        several objects could not be transferred

Each class is also the builtin in brackets. Messages name the URL and say what to do; credentials
never appear in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class S3Error(OSError):
    """Base of all errors of this package; itself, where the service answered with another error."""


class S3UrlError(S3Error, ValueError):
    """A URL or an option is not of the expected form."""


class S3NotFoundError(S3Error, FileNotFoundError):
    """There is no such bucket or object."""


class S3AccessError(S3Error, PermissionError):
    """Credentials are missing or wrong, or do not allow it."""


class S3ConnectionError(S3Error, ConnectionError):
    """The endpoint cannot be reached, or the connection broke off again and again."""


class IntegrityError(S3Error):
    """Bytes that arrived, or lie in the bucket, are not those that were expected."""


class TransferError(S3Error):
    """Several objects could not be transferred; those that could are there.

    Parameters
    ----------
    message : str
        What happened.
    failed : mapping of str to str
        URL of each object that failed, and why.
    """

    def __init__(self, message: str, failed: Mapping[str, str]) -> None:
        super().__init__(message)
        self.failed = dict(failed)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.failed)
