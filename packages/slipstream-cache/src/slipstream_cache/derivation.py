"""Makes derived fields: runs of samples on threads, parts sealed one by one, the manifest last.

As in a build, the bytes depend on the samples and the recipe only, an interrupted derivation goes
on after its last sealed part, and several processes may derive at once.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from slipstream_cache.additions import publish_addition
from slipstream_cache.cache import SampleCache
from slipstream_cache.derived import (
    DerivedField,
    Recipe,
    derived_directory,
    derived_document,
    open_derived,
)
from slipstream_cache.encoding import EncodedImages
from slipstream_cache.errors import (
    CacheError,
    CacheExistsError,
    CacheWriteError,
    DerivedNotFoundError,
    FieldTypeError,
    ManifestError,
    UnsupportedVersionError,
)
from slipstream_cache.field_types import validate_fields
from slipstream_cache.layout import IMAGE_SAMPLE_DTYPE, Codec, Condition
from slipstream_cache.manifest import ImageCounts, PartInfo
from slipstream_cache.payloads import Payloads
from slipstream_cache.processors import usable_processors
from slipstream_cache.publish import (
    build_lock,
    discard,
    read_sealed_part,
    seal_part,
    temporary_path,
)
from slipstream_cache.source import FieldSpec
from slipstream_cache.writers import PartWriter

DeriveFunction: TypeAlias = Callable[[Payloads], Any]
"""Makes the derived values of a run of samples; ``derive`` says what it returns."""

_Run: TypeAlias = "list[bytes] | EncodedImages"

_RUN_SAMPLES: Final = 64
_RUN_BYTES: Final = 2 << 20
_RUNS_PER_WORKER: Final = 3


def derive(
    cache: SampleCache | str | os.PathLike[str],
    field: str,
    name: str,
    recipe: Recipe,
    function: DeriveFunction,
    *,
    payloads: Callable[[NDArray[np.int64]], Payloads] | None = None,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DerivedField:
    """Make a derived field, or open it if it is there, whole and of this recipe.

    Parameters
    ----------
    cache : SampleCache or path
        The cache, or its directory.
    field : str
        The image field to derive from.
    name : str
        Name of the derived field: lower-case letters, digits and ``_``.
    recipe : Recipe
        What ``function`` does, and how its values are stored.
    function : callable
        ``function(payloads)`` is called from several threads with runs of B samples, in any
        order. By ``recipe.spec.kind`` it returns, with each sample's value independent of the
        others:

        - dense: an array of the spec's dtype and shape (B, *shape);
        - ragged: ``(data, sizes)``, uint8 of shape (bytes,), the values one after another, and
          integers of shape (B,);
        - image: ``(data, rows)``, the payloads one after another, and ``IMAGE_SAMPLE_DTYPE`` of
          shape (B,) with all columns but ``offset`` and ``checksum``.

        In the place of ``data`` it may return a list of B arrays, which are not copied: they belong
        to the derivation from then on.
    payloads : callable, optional
        ``payloads(sample ids)`` gives ``function`` something else than what the field holds, such
        as images that were derived before. The recipe must say so.
    num_workers : int, optional
        Threads; by default as many as this process may use processors.
    progress : callable, optional
        Called as ``progress(samples done, samples in all)`` from this thread.

    Returns
    -------
    DerivedField
        The published field. Open caches find it with ``SampleCache.derived``.

    Raises
    ------
    FieldNotFoundError
        There is no such image field.
    FieldNameError, FieldTypeError
        The name or the recipe's spec cannot be stored, or the function returns something else.
    CacheWriteError
        No space, no permission, or a read-only file system. Sealed parts are kept.
    """
    opened = cache if isinstance(cache, SampleCache) else SampleCache.open(cache)
    opened.payloads(field, [])
    validate_fields({name: recipe.spec})
    directory = derived_directory(opened.cache_dir, field, name)
    located = payloads or partial(opened.payloads, field)
    run = _Derivation(opened, field, name, recipe, function, located, directory)
    published = run.published()
    if published is not None:
        return published
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with build_lock(directory):
            return run.published() or run.run(num_workers or usable_processors(), progress)
    except CacheError:
        raise
    except OSError as error:
        raise CacheWriteError(
            f"cannot write the derived field {directory}: {error}; parts that are complete stay "
            "and the next attempt goes on after them"
        ) from error


class _Derivation:
    """One run of ``derive``."""

    def __init__(
        self,
        cache: SampleCache,
        field: str,
        name: str,
        recipe: Recipe,
        function: DeriveFunction,
        payloads: Callable[[NDArray[np.int64]], Payloads],
        directory: Path,
    ) -> None:
        self._cache, self._field, self._name, self._recipe = cache, field, name, recipe
        self._function, self._payloads, self._directory = function, payloads, directory
        self._fields = {name: recipe.spec}
        document = derived_document(cache.manifest, field, name, recipe, ())
        self._parts_directory = directory / str(document["directory"])

    def published(self) -> DerivedField | None:
        """The field if it is there, up to date, and no file of it is missing or cut."""
        try:
            found = open_derived(self._cache, self._field, self._name, self._recipe)
        except (DerivedNotFoundError, ManifestError, UnsupportedVersionError, OSError):
            return None
        return found if all(map(self._sealed, found.parts)) else None

    def run(self, num_workers: int, progress: Callable[[int, int], None] | None) -> DerivedField:
        """Write the parts that are missing, and publish."""
        self._parts_directory.mkdir(exist_ok=True)
        parts = self._cache.manifest.parts
        missing = [part for part in parts if self._sealed(part) is None]
        total = len(self._cache)
        done = total - sum(part.num_samples for part in missing)
        with ThreadPoolExecutor(num_workers, "slipstream-derive") as pool:
            runs = self._runs(pool, missing, _RUNS_PER_WORKER * num_workers)
            try:
                for part in missing:
                    for num_samples in self._write(part, runs):
                        done += num_samples
                        if progress is not None:
                            progress(done, total)
            finally:
                runs.close()
        sealed = tuple(self._expect_sealed(part) for part in parts)
        document = derived_document(
            self._cache.manifest, self._field, self._name, self._recipe, sealed
        )
        publish_addition(self._directory, document)
        return open_derived(self._cache, self._field, self._name, self._recipe)

    def _sealed(self, parent: PartInfo) -> PartInfo | None:
        """The derived part if it is sealed and its files have their sizes."""
        found = read_sealed_part(self._parts_directory / parent.name, self._fields)
        if found is None:
            return None
        part = found[0]
        samples = (part.first_sample, part.num_samples)
        return part if samples == (parent.first_sample, parent.num_samples) else None

    def _expect_sealed(self, parent: PartInfo) -> PartInfo:
        part = self._sealed(parent)
        if part is None:
            raise CacheExistsError(
                f"{self._parts_directory / parent.name} was changed by others; derive it again"
            )
        return part

    def _runs(
        self, pool: ThreadPoolExecutor, parts: list[PartInfo], runs_ahead: int
    ) -> Generator[_Run, None, None]:
        """Yield the encoded values of all runs in order, computed ahead on the pool."""
        pending: deque[Future[_Run]] = deque()
        try:
            for part in parts:
                for begin, end in self._split(part):
                    pending.append(pool.submit(self._make, begin, end))
                    if len(pending) >= runs_ahead:
                        yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    def _split(self, part: PartInfo) -> Iterator[tuple[int, int]]:
        """Half-open ranges of sample ids of at most so many samples and, about, bytes."""
        end = part.first_sample + part.num_samples
        sizes = self._cache.payloads(self._field, np.arange(part.first_sample, end)).sizes
        ends = np.cumsum(sizes)
        begin = 0
        while begin < len(sizes):
            limit = int(ends[begin] - sizes[begin]) + _RUN_BYTES
            stop = int(np.searchsorted(ends, limit, side="right"))
            stop = min(max(stop, begin + 1), begin + _RUN_SAMPLES, len(sizes))
            yield part.first_sample + begin, part.first_sample + stop
            begin = stop

    def _make(self, begin: int, end: int) -> _Run:
        made = self._function(self._payloads(np.arange(begin, end)))
        try:
            return _encode(self._recipe.spec, made, end - begin)
        except (TypeError, ValueError) as error:
            raise FieldTypeError(
                f"the function of {self._field}.{self._name} returned for samples {begin} to "
                f"{end - 1}: {error}"
            ) from error

    def _write(self, parent: PartInfo, runs: Iterator[_Run]) -> Iterator[int]:
        """Write and seal one part; yields the numbers of samples as they are written."""
        final = self._parts_directory / parent.name
        temporary = temporary_path(final)
        temporary.mkdir()
        try:
            writer = PartWriter(temporary, self._fields)
            conditions = np.zeros(len(Condition), np.int64)
            try:
                while writer.num_samples < parent.num_samples:
                    run = next(runs)
                    if isinstance(run, EncodedImages):
                        writer.add_images(run)
                        conditions += np.bincount(run.rows["condition"], minlength=conditions.size)
                    else:
                        for value in run:
                            writer.add([value])
                    yield len(run)
                files = writer.finish()
            finally:
                writer.abandon()
            images = {}
            if self._recipe.spec.kind == "image":
                damaged, unreadable = conditions[[Condition.DAMAGED, Condition.UNREADABLE]].tolist()
                images = {self._name: ImageCounts(damaged, unreadable)}
            part = replace(parent, files=files, images=images)
            if seal_part(temporary, part, []) is None and self._sealed(parent) is None:
                discard(final)  # it was there, but not whole
                seal_part(temporary, part, [])
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _encode(spec: FieldSpec, made: Any, count: int) -> _Run:
    """What a function returned, as one value for each sample."""
    if spec.kind == "dense":
        array = np.asarray(made)
        expected = np.dtype(spec.dtype), (count, *spec.shape)
        if (array.dtype, array.shape) != expected:
            raise ValueError(f"expected {expected}, got {(array.dtype, array.shape)}")
        return [row.tobytes() for row in array]
    data, described = made
    rows = np.asarray(described)
    wanted = IMAGE_SAMPLE_DTYPE if spec.kind == "image" else None
    if rows.shape != (count,) or (rows.dtype != wanted if wanted else rows.dtype.kind not in "iu"):
        raise ValueError(
            f"expected {wanted or 'integers'} of shape ({count},), "
            f"got {rows.dtype} of shape {rows.shape}"
        )
    pieces = _pieces(data, (rows["size"] if wanted else rows).astype(np.int64))
    if not wanted:
        return list(pieces)
    _check_rows(rows)
    return EncodedImages.of(pieces, rows)


def _pieces(data: Any, sizes: NDArray[np.int64]) -> list[bytes]:
    """The value of each sample."""
    if isinstance(data, list):
        for piece in data:
            _check_bytes(piece)
        if [piece.size for piece in data] != sizes.tolist():
            raise ValueError("the arrays do not have the sizes of the values")
        return [cast(bytes, memoryview(piece.reshape(-1))) for piece in data]
    _check_bytes(data)
    ends = np.cumsum(sizes)
    if (sizes.size and int(sizes.min()) < 0) or int(ends[-1] if sizes.size else 0) != data.size:
        raise ValueError(f"the sizes do not add up to the {data.size} bytes of data")
    view = data.reshape(-1).data
    starts = (ends - sizes).tolist()
    return [bytes(view[a:b]) for a, b in zip(starts, ends.tolist(), strict=True)]


def _check_rows(rows: NDArray[np.void]) -> None:
    for column, kind in (("codec", Codec), ("condition", Condition)):
        unknown = set(np.unique(rows[column]).tolist()) - set(kind)
        if unknown:
            raise ValueError(f"{sorted(unknown)} in the column {column!r} are not of {kind}")


def _check_bytes(data: Any) -> None:
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or not data.flags.c_contiguous:
        raise TypeError("expected data as a contiguous array of uint8, or a list of them")
