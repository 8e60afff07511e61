"""Layouts that are not read here: through litdata itself, slower and one sample at a time."""

from __future__ import annotations

import logging
import os
import struct
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from slipstream_cache import Source, default_cache_root
from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.sources.access import NO_OPTIONS, AccessOptions
from slipstream_loader.sources.litdata.index import UnknownLayoutError
from slipstream_loader.sources.litdata.source import LitDataSource
from slipstream_loader.sources.object_store import ObjectStore, is_object_url
from slipstream_loader.sources.sequence import SequenceSource

_logger = logging.getLogger(__name__)

_LITDATA_ERRORS: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What litdata raises for data that is damaged, or that it does not know."""


def open_litdata(
    location: str | os.PathLike[str] | ObjectStore, access: AccessOptions = NO_OPTIONS
) -> Source:
    """Open a LitData data set: by `LitDataSource` if it can, else through litdata.

    Raises
    ------
    SourceError
        Neither can read it.
    """
    try:
        return LitDataSource(
            location,
            storage_options=access.storage_options,
            expected_version=access.expected_version,
            download_dir=(access.cache_root or default_cache_root()) / "downloads",
        )
    except UnknownLayoutError as error:
        place = location.url if isinstance(location, ObjectStore) else os.fspath(location)
        if access.expected_version is not None:
            raise SourceError(f"{error}; its version cannot be told") from error
        samples = _LitDataSamples(place, access.storage_options, error)
        _logger.warning("%s: read through litdata, which is slower", error)
        try:
            return SequenceSource(samples)
        except SampleReadError as problem:
            raise SourceError(f"{error}, which is not read here; {problem}") from problem


class _LitDataSamples:
    """litdata's data set; it may be read by one thread at a time."""

    def __init__(
        self, place: str, storage_options: Mapping[str, Any] | None, reason: UnknownLayoutError
    ) -> None:
        self._place, self._storage_options, self._reason = place, storage_options, reason
        self.fingerprint = reason.fingerprint
        self._open()

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int, /) -> Any:
        with self._lock:
            try:
                return self._dataset[index]
            except _LITDATA_ERRORS as error:
                raise SampleReadError(
                    f"sample {index} of {self._place}: litdata cannot read it: {error!r}"
                ) from error

    def __getstate__(self) -> tuple[Any, ...]:
        return self._place, self._storage_options, self._reason

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def _open(self) -> None:
        self._lock = threading.Lock()
        try:
            import litdata
        except ImportError as error:
            raise SourceError(
                f"{self._reason}, which is not read here; litdata may read it: "
                "pip install 'visionlab-slipstream-loader[litdata]'"
            ) from error
        url = is_object_url(self._place)
        place = self._place if url else str(Path(self._place).expanduser().absolute())
        options = {"storage_options": dict(self._storage_options or {})} if url else {}
        try:
            self._dataset = litdata.StreamingDataset(place, **options)
            len(self._dataset)
        except _LITDATA_ERRORS as error:
            raise SourceError(
                f"{self._reason}, which is not read here, and litdata cannot open it without more "
                f"arguments ({error}); open it with litdata, and give it to slipstream as "
                "SequenceSource(dataset, name='my-data-v1')"
            ) from error
