"""A cache that is read while it is being built: for the first epoch over data that is far away.

The build runs on a thread of its own. Samples of parts that are complete come from there; any
other sample is read from the source alone, ahead of the batch that needs it and in the order of
the epoch, whatever that is. Both give the bytes that the cache will hold.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields as columns_of
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slipstream_cache import (
    DerivedNotFoundError,
    DerivedReader,
    FieldNotFoundError,
    FieldSpec,
    Payloads,
    Recipe,
    SampleCache,
    SampleReader,
    Source,
    StorageOptions,
    ValueIndex,
)
from slipstream_cache.encoding import TEXT_ERRORS, Encoded, EncodedImage, SampleEncoder
from slipstream_cache.field_types import select_fields
from slipstream_cache.layout import PAYLOAD_PADDING_BYTES
from slipstream_cache.manifest import PartInfo, part_name
from slipstream_cache.publish import read_sealed_part
from slipstream_cache.readers import (
    DenseReader,
    ImageReader,
    RaggedReader,
    load_images,
    make_reader,
)
from slipstream_cache.sample_ids import check_ids
from slipstream_loader.errors import SampleReadError
from slipstream_loader.sources.litdata import LitDataSource
from slipstream_loader.sources.tar import TarSource
from slipstream_loader.transcode import transcode

_logger = logging.getLogger(__name__)

_REQUESTS: Final = 32
"""Samples that are read from the source at a time."""
_BATCHES_AHEAD: Final = 3
_BATCHES_KEPT: Final = 8
_MIN_KEPT: Final = 256

Build = Callable[[Callable[[int, int], None]], SampleCache]
"""Builds the cache, and calls what it is given with the progress."""


def reads_alone(source: object) -> bool:
    """Whether single samples of a source are worth reading from where they are."""
    if isinstance(source, TarSource):
        return source.reads_alone
    return isinstance(source, LitDataSource) and source.store is not None


class BuildStoppedError(Exception):
    """The build was stopped because nobody waits for it any more."""


class GrowingCache(SampleReader):
    """Reads samples from a cache that is being built, and from its source.

    Parameters
    ----------
    source : Source
        One that ``reads_alone``.
    cache_dir : Path
        Where the cache is being built.
    key : str
        Of the cache.
    options : StorageOptions
        How it is stored.
    build : callable
        Run on a thread of its own, which begins at once.
    """

    def __init__(
        self, source: Source, cache_dir: Path, key: str, options: StorageOptions, build: Build
    ) -> None:
        self._source, self._cache_dir, self._key = source, cache_dir, key
        self._fields = select_fields(source.field_types, options.fields)
        self._encoder = SampleEncoder(source, self._fields, options, transcode)
        self._columns = {name: column for column, name in enumerate(self._fields)}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_REQUESTS, "slipstream-first-epoch")
        self._requested: OrderedDict[int, Future[list[Encoded]]] = OrderedDict()
        self._kept = _MIN_KEPT
        self._parts: list[PartInfo] = []
        self._readers: dict[str, DenseReader | RaggedReader | ImageReader] = {}
        self._built: SampleCache | None = None
        self._error: BaseException | None = None
        self._stopped = False
        self._thread = threading.Thread(
            target=self._run, args=(build,), name="slipstream-build", daemon=True
        )
        self._thread.start()

    @property
    def is_complete(self) -> bool:
        """Whether the cache is built."""
        return self._built is not None

    def wait(self) -> SampleCache:
        """Wait for the build to end.

        Raises
        ------
        Exception
            Whatever made it fail.
        """
        self._thread.join()
        if self._built is None:
            raise self._error or BuildStoppedError
        return self._built

    @property
    def is_stopped(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stopped

    def stop(self, *, wait: bool = False) -> None:
        """End the build, whose complete parts stay, and all reading from the source.

        Parameters
        ----------
        wait : bool
            Until their threads have ended. Without it no lock is taken, as finalisers need it.
        """
        self._stopped = True
        if wait:
            self._thread.join()
            self._pool.shutdown(wait=True)

    @property
    def num_samples(self) -> int:
        """Number of samples; valid ids are 0 to this, excluded."""
        return len(self._source)

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        """Field name to how it is stored."""
        return dict(self._fields)

    @property
    def key(self) -> str:
        """That of the cache."""
        return self._key

    @property
    def caches(self) -> tuple[SampleCache, ...]:
        """The cache, after waiting for it."""
        return (self.wait(),)

    def load_batch(self, ids: ArrayLike, fields: Sequence[str] | None = None) -> dict[str, Any]:
        """Copy samples out; see ``SampleCache.load_batch``."""
        if self._built is None:
            valid = check_ids(ids, len(self), self._cache_dir)
            try:
                names = list(self._fields) if fields is None else fields
                return {name: self._load(name, valid) for name in names}
            except SampleReadError:
                if self._built is None:
                    raise
        return self._built.load_batch(ids, fields)  # perhaps completed, and closed, just now

    def payloads(self, field: str, ids: ArrayLike) -> Payloads:
        """Return where images are in memory; see ``SampleCache.payloads``."""
        if self._built is None:
            try:
                return self._growing_payloads(field, check_ids(ids, len(self), self._cache_dir))
            except SampleReadError:
                if self._built is None:
                    raise
        return self._built.payloads(field, ids)

    def conditions(self, field: str) -> NDArray[np.uint8]:
        """Wait for the cache, and return the ``Condition`` of every image."""
        return self.wait().conditions(field)

    def value_index(self, field: str) -> ValueIndex:
        """Wait for the cache; see ``SampleCache.value_index``."""
        return self.wait().value_index(field)

    def derived(self, field: str, name: str, recipe: Recipe | None = None) -> DerivedReader:
        """Open a derived field; there is none before the cache is built."""
        if self._built is None:
            raise DerivedNotFoundError(f"{self._cache_dir} is being built: no {field}.{name} yet")
        return self._built.derived(field, name, recipe)

    def request(self, ids: NDArray[np.int64], num_kept: int) -> None:
        """Begin to read samples that will be needed soon; remember at least so many."""
        if self._built is not None or self._error is not None or self._stopped:
            return
        there, _ = self._in_parts(ids)
        with self._lock, suppress(RuntimeError):  # the pool may be closed just now
            self._kept = max(self._kept, num_kept)
            for sample_id in ids[~there].tolist():
                self._future(sample_id)

    def _run(self, build: Build) -> None:
        try:
            self._built = build(self._check_stopped)
            self._pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(self._source, LitDataSource):  # its downloads are of no use any more
                self._source.close()
        except BaseException as error:  # noqa: BLE001  (it reaches the consumer's next batch)
            self._error = error
            self._pool.shutdown(wait=False, cancel_futures=self._stopped)
        finally:
            with self._lock:
                self._requested.clear()

    def _check_stopped(self, done: int, total: int) -> None:
        _logger.debug("%s: %d of %d samples are stored", self._cache_dir, done, total)
        if self._stopped:
            raise BuildStoppedError

    def _spec(self, field: str) -> FieldSpec:
        if field not in self._fields:
            raise FieldNotFoundError(f"there is no field {field!r}; there are {list(self._fields)}")
        return self._fields[field]

    def _in_parts(
        self, ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], dict[str, DenseReader | RaggedReader | ImageReader]]:
        """Which samples are in the parts that are complete, from the first on; their readers."""
        with self._lock:
            grown = False
            while True:
                directory = self._cache_dir / part_name(len(self._parts))
                found = read_sealed_part(directory, self._fields) if directory.is_dir() else None
                if found is None or found[0].first_sample != self._end():
                    break
                self._parts.append(found[0])
                grown = True
            if grown:
                self._readers = {
                    name: make_reader(self._cache_dir, name, spec, list(self._parts))
                    for name, spec in self._fields.items()
                }
            return ids < self._end(), self._readers

    def _end(self) -> int:
        last = self._parts[-1] if self._parts else None
        return last.first_sample + last.num_samples if last else 0

    def _future(self, sample_id: int) -> Future[list[Encoded]]:
        """A sample that is being read, or was lately; the lock is held."""
        future = self._requested.get(sample_id)
        if future is None:
            future = self._pool.submit(self._encoded, sample_id)
            self._requested[sample_id] = future
        self._requested.move_to_end(sample_id)
        while len(self._requested) > self._kept:
            self._requested.popitem(last=False)
        return future

    def _encoded(self, sample_id: int) -> list[Encoded]:
        try:
            sample = self._sample(sample_id)
        except SampleReadError:  # a build that ends closes its source; this opens it again
            sample = self._sample(sample_id)
        return self._encoder.encode(sample_id, sample)

    def _sample(self, sample_id: int) -> Mapping[str, Any]:
        source = self._source
        if isinstance(source, TarSource):
            return source.read_alone(sample_id)
        return source[sample_id]

    def _read(self, ids: NDArray[np.int64]) -> list[list[Encoded]]:
        """Read samples from the source, or take what was requested."""
        if self._error is not None:
            raise self._error
        try:
            with self._lock:
                futures = [(sample_id, self._future(sample_id)) for sample_id in ids.tolist()]
        except RuntimeError as error:  # the pool was closed just now
            raise SampleReadError(f"{self._source.uri} is read no more") from error
        values = []
        for sample_id, future in futures:
            try:
                values.append(future.result())
            except (OSError, CancelledError) as error:
                place = f"sample {sample_id} ({self._source.describe(sample_id)})"
                raise SampleReadError(f"{place} cannot be read: {error}") from error
        return values

    def _growing_payloads(self, field: str, valid: NDArray[np.int64]) -> Payloads:
        if self._spec(field).kind != "image":
            raise FieldNotFoundError(f"field {field!r} is {self._spec(field).kind}, not image")
        there, readers = self._in_parts(valid)
        loose = _loose_payloads([v[self._columns[field]] for v in self._read(valid[~there])])
        if not there.any():
            return loose
        reader = readers[field]
        assert isinstance(reader, ImageReader)
        return _merged(there, reader.locate(valid[there]), loose)

    def _load(self, field: str, ids: NDArray[np.int64]) -> Any:
        spec = self._spec(field)
        if spec.kind == "image":
            return load_images(self.payloads(field, ids))
        there, readers = self._in_parts(ids)
        column = self._columns[field]
        loose = [_decoded(spec, values[column]) for values in self._read(ids[~there])]
        stored = readers[field].load(ids[there]) if there.any() else []
        if spec.kind == "dense":
            out = np.empty((len(ids), *spec.shape), spec.dtype)
            out[there] = stored if there.any() else out[there]
            out[~there] = loose if loose else out[~there]
            return out
        parts, others = iter(stored), iter(loose)
        return [next(parts) if is_there else next(others) for is_there in there.tolist()]


class RequestAhead:
    """Requests the samples of coming batches; in the place of ``ReadAhead`` for the first epoch.

    Parameters
    ----------
    cache : GrowingCache
    batch_size : int
    """

    def __init__(self, cache: GrowingCache, batch_size: int) -> None:
        self._cache, self._kept = cache, max(_MIN_KEPT, _BATCHES_KEPT * batch_size)

    def before(
        self, number: int, num_batches: int, ids_of: Callable[[int], NDArray[np.int64]]
    ) -> None:
        """See ``ReadAhead.before``."""
        if self._cache.is_complete:
            return
        for coming in range(number, min(number + _BATCHES_AHEAD + 1, num_batches)):
            self._cache.request(ids_of(coming), self._kept)


def _decoded(spec: FieldSpec, value: Encoded) -> Any:
    """A stored value as ``load_batch`` gives it."""
    assert isinstance(value, bytes)
    if spec.kind == "dense":
        return np.frombuffer(value, spec.dtype).reshape(spec.shape)
    if spec.content == "bytes":
        return value
    text = value.decode("utf-8", TEXT_ERRORS)
    return json.loads(text) if spec.content == "json" else text


def _loose_payloads(values: list[Encoded]) -> Payloads:
    """Images that are in no part, one after another in a buffer of their own."""
    images = [value for value in values if isinstance(value, EncodedImage)]
    sizes = np.array([len(image.image.payload) for image in images], np.int64)
    offsets = np.cumsum(sizes) - sizes
    buffer = np.zeros(int(sizes.sum()) + PAYLOAD_PADDING_BYTES, np.uint8)
    for offset, image in zip(offsets.tolist(), images, strict=True):
        payload = image.image.payload
        buffer[offset : offset + len(payload)] = np.frombuffer(payload, np.uint8)

    def column(name: str, dtype: Any) -> NDArray[Any]:
        return np.array([getattr(image.image, name) for image in images], dtype)

    return Payloads(
        addresses=buffer.ctypes.data + offsets,
        sizes=sizes,
        heights=column("height", np.int32),
        widths=column("width", np.int32),
        codecs=column("codec", np.uint8),
        orientations=column("orientation", np.uint8),
        conditions=column("condition", np.uint8),
        checksums=np.array([image.checksum for image in images], np.uint64),
        owner=buffer,
    )


def _merged(there: NDArray[np.bool_], stored: Payloads, loose: Payloads) -> Payloads:
    """Payloads of two places in the order of the batch."""
    columns = {}
    for column in columns_of(Payloads):
        if column.name != "owner":
            first = getattr(stored, column.name)
            merged = np.empty(len(there), first.dtype)
            merged[there], merged[~there] = first, getattr(loose, column.name)
            columns[column.name] = merged
    return Payloads(**columns, owner=(stored, loose))
