"""Transfers of data sets and caches from and to S3: fast, checked, resumable."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "Connection",
    "IntegrityError",
    "RemoteFile",
    "S3AccessError",
    "S3ConnectionError",
    "S3Error",
    "S3Folder",
    "S3NotFoundError",
    "S3UrlError",
    "StoredObject",
    "TransferError",
    "byte_bar",
    "download",
    "find_s5cmd",
    "sync_s3_dataset",
    "upload",
]

if TYPE_CHECKING:
    from slipstream_s3sync.checks import RemoteFile
    from slipstream_s3sync.connection import Connection
    from slipstream_s3sync.dataset_sync import sync_s3_dataset
    from slipstream_s3sync.errors import (
        IntegrityError,
        S3AccessError,
        S3ConnectionError,
        S3Error,
        S3NotFoundError,
        S3UrlError,
        TransferError,
    )
    from slipstream_s3sync.folder import S3Folder, StoredObject
    from slipstream_s3sync.progress import byte_bar
    from slipstream_s3sync.s5cmd import find_s5cmd
    from slipstream_s3sync.transfer import download, upload
else:
    _MODULES = {
        "RemoteFile": "checks",
        "Connection": "connection",
        "sync_s3_dataset": "dataset_sync",
        "IntegrityError": "errors",
        "S3AccessError": "errors",
        "S3ConnectionError": "errors",
        "S3Error": "errors",
        "S3NotFoundError": "errors",
        "S3UrlError": "errors",
        "TransferError": "errors",
        "S3Folder": "folder",
        "StoredObject": "folder",
        "byte_bar": "progress",
        "find_s5cmd": "s5cmd",
        "download": "transfer",
        "upload": "transfer",
    }

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

    def __dir__() -> list[str]:
        return __all__
