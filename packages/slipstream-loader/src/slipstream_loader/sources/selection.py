"""Some samples and fields of a source, in another order, under other names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slipstream_cache import FieldNameError, FieldSpec, SampleReader, Source
from slipstream_cache.field_types import select_fields, validate_fields
from slipstream_cache.source import is_sequential, release, sample_bytes
from slipstream_loader.errors import EmptyDatasetError, SourceError
from slipstream_loader.sources.detect import open_source
from slipstream_loader.sources.prebuilt import CacheSource

_RECIPE: Final = "selection 1"


def select(
    source: Any,
    ids: ArrayLike | None = None,
    *,
    fields: Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
    as_files: Sequence[str] = (),
    shuffle: int | None = None,
) -> SelectedSource:
    """Choose what a cache is built from.

    Parameters
    ----------
    source : Source, SampleReader, path, URL or object
        Whatever ``SlipstreamDataset`` takes.
    ids : array-like of int, or of bool with one for each sample, optional
        The samples, in their new order; default: all.
    fields : sequence of str, optional
        The fields to keep; default: all.
    rename : mapping of str to str, optional
        Old names of fields -> new ones.
    as_files : sequence of str
        Image fields that are stored as the files that they are, never decoded or stored again: for
        what is no photograph, such as masks. They become fields of ``bytes``; see ``MaskCrop``.
    shuffle : int, optional
        Store the samples in a random order that depends on this number: reading them in the order
        of the cache is then random, at the speed of sequential reading.

    Returns
    -------
    SelectedSource
        With a fingerprint of its own. The samples stay where they are.

    Raises
    ------
    FieldNotFoundError
        There is no such field.
    FieldNameError
        A new name cannot be a field's, or comes twice.
    IndexError
        An id is out of range.
    SourceError
        A source that is read forward is asked for another order; a field of ``as_files`` is no
        image.

    Examples
    --------
    >>> photos = select("photos", range(100), rename={"label": "class"})  # doctest: +SKIP
    """
    base = source if isinstance(source, SampleReader) else open_source(source)
    if isinstance(base, SampleReader):
        base = CacheSource(base)
    chosen = _checked_ids(ids, len(base))
    if shuffle is not None:
        order = np.random.default_rng(shuffle).permutation(
            len(base) if chosen is None else chosen.size
        )
        chosen = order if chosen is None else chosen[order]
    if chosen is not None and is_sequential(base) and (np.diff(chosen) < 0).any():
        raise SourceError(
            f"{base.uri} is read forward, so its samples cannot be put in another order; build its "
            "cache, and select from that"
        )
    kept = select_fields(base.field_types, None if fields is None else tuple(fields))
    renamed = dict(rename or {})
    select_fields(kept, (*renamed, *as_files))
    for name in as_files:
        if kept[name].kind != "image":
            raise SourceError(f"as_files: field {name!r} of {base.uri} is no image field")
    return SelectedSource(base, chosen, {n: renamed.get(n, n) for n in kept}, frozenset(as_files))


class SelectedSource:
    """Samples and fields that were chosen from a source; made by ``select``.

    Parameters
    ----------
    source : Source
    ids : ndarray of int64, shape (N,), or None
    names : mapping of str to str
        Name in the source -> name here.
    as_files : frozenset of str
        Image fields of the source that are bytes here.
    """

    def __init__(
        self,
        source: Source,
        ids: NDArray[np.int64] | None,
        names: Mapping[str, str],
        as_files: frozenset[str],
    ) -> None:
        self._source, self._ids, self._names, self._as_files = source, ids, dict(names), as_files
        if len(set(self._names.values())) < len(self._names):
            raise FieldNameError(f"two fields would have one name: {sorted(self._names.values())}")
        validate_fields(self.field_types)

    def close(self) -> None:
        """Let the source let go of what it holds to be read."""
        release(self._source)

    @property
    def kind(self) -> str:
        """Kind of the source."""
        return self._source.kind

    @property
    def uri(self) -> str:
        """Where the source is."""
        return self._source.uri

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of every sample, under their new names."""
        specs = self._source.field_types
        file = FieldSpec("ragged", content="bytes")
        return {
            new: file if old in self._as_files else specs[old] for old, new in self._names.items()
        }

    @property
    def classes(self) -> list[str]:
        """Names of the classes; AttributeError where the source has none."""
        classes: list[str] = self._source.classes  # type: ignore[attr-defined]
        return classes

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Class name -> label; AttributeError where the source has none."""
        labels: dict[str, int] = self._source.class_to_idx  # type: ignore[attr-defined]
        return labels

    @property
    def is_sequential(self) -> bool:
        """Whether samples are best read in their order."""
        return is_sequential(self._source)

    def sample_bytes(self, index: int, /) -> int | None:
        """Bytes of a sample of the source, with all its fields; None if that does not tell."""
        return sample_bytes(self._source, self._id(index))

    def __len__(self) -> int:
        return len(self._source) if self._ids is None else int(self._ids.size)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        sample = self._source[self._id(index)]
        return {new: sample[old] for old, new in self._names.items() if old in sample}

    def fingerprint(self) -> str:
        """Hash of the source's fingerprint and of what was chosen: 64 hexadecimal characters."""
        ids = None
        if self._ids is not None:
            ids = hashlib.sha256(self._ids.astype("<i8").tobytes()).hexdigest()
        names = sorted(self._names.items())
        parts = [_RECIPE, self._source.fingerprint(), ids, names, sorted(self._as_files)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def describe(self, index: int, /) -> str:
        """Name sample `index` as the source does."""
        return self._source.describe(self._id(index))

    def __repr__(self) -> str:
        return f"SelectedSource({len(self)} samples of {self._source!r})"

    def _id(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of the {len(self)} chosen from {self.uri}")
        return index if self._ids is None else int(self._ids[index])


def _checked_ids(ids: ArrayLike | None, num_samples: int) -> NDArray[np.int64] | None:
    if ids is None:
        return None
    array = np.asarray(ids)
    if array.dtype == bool:
        if array.shape != (num_samples,):
            raise IndexError(f"ids: a mask of shape {array.shape} for {num_samples} samples")
        array = np.flatnonzero(array)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"ids must be a list of sample ids, got {array.dtype} of {array.shape}")
    if not array.size:
        raise EmptyDatasetError("no samples were chosen")
    wrong = array[(array < 0) | (array >= num_samples)]
    if wrong.size:
        raise IndexError(f"ids: sample {wrong[0]} is not in [0, {num_samples})")
    return array.astype(np.int64)
