"""Views of caches that read like one: some of the samples, or those of several, without a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields as columns_of
from typing import Any, TypeVar

import numpy as np
import xxhash
from numpy.typing import ArrayLike, NDArray

from slipstream_cache.cache import SampleCache
from slipstream_cache.derived import DerivedReader, Recipe
from slipstream_cache.errors import DerivedNotFoundError, FieldNotFoundError, FieldTypeError
from slipstream_cache.payloads import Blobs, Payloads
from slipstream_cache.readers import load_images
from slipstream_cache.sample_ids import check_ids
from slipstream_cache.sample_reader import SampleReader
from slipstream_cache.source import FieldSpec
from slipstream_cache.value_index import ValueIndex, index_values

_Located = TypeVar("_Located", Payloads, Blobs)
_Read = TypeVar("_Read")


def subset(cache: SampleReader, ids: ArrayLike) -> Subset:
    """Return a view of some samples of a cache, in any order.

    Parameters
    ----------
    cache : SampleCache, Subset or Concatenation
        What to read from.
    ids : array-like of int, shape (N,)
        Sample ``k`` of the view is sample ``ids[k]``; repeats are allowed.

    Raises
    ------
    SampleIdError
        An id is out of range.
    """
    return Subset(cache, check_ids(ids, len(cache), "the cache").copy())


def concatenate(caches: Iterable[SampleReader]) -> Concatenation:
    """Return a view of the samples of several caches, one cache after another.

    Parameters
    ----------
    caches : iterable of SampleCache, Subset or Concatenation
        At least one; all with the same fields, stored in the same way.

    Raises
    ------
    FieldTypeError
        Their fields differ.
    ValueError
        There is no cache.
    """
    members = tuple(caches)
    if not members:
        raise ValueError("there is no cache to concatenate")
    for number, member in enumerate(members):
        if dict(member.fields) != dict(members[0].fields):
            raise FieldTypeError(
                f"cache {number} has the fields {dict(member.fields)}, expected those of the "
                f"first one: {dict(members[0].fields)}"
            )
    return Concatenation(members)


class Subset(SampleReader):
    """Some samples of a cache; made by ``subset``.

    Parameters
    ----------
    base : SampleReader
        What to read from.
    ids : ndarray of int64, shape (N,)
        The samples, checked.
    """

    def __init__(self, base: SampleReader, ids: NDArray[np.int64]) -> None:
        self._base, self._ids = base, ids

    @property
    def num_samples(self) -> int:
        """Number of samples; valid ids are 0 to this, excluded."""
        return len(self._ids)

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        """Field name to how it is stored, in the source's order."""
        return self._base.fields

    @property
    def key(self) -> str:
        """Hash of the base's key and of the ids, 16 hexadecimal characters."""
        return _key_of(self._base.key, self._ids.astype("<i8").tobytes())

    @property
    def caches(self) -> tuple[SampleCache, ...]:
        """The caches that hold the samples, each once."""
        return self._base.caches

    def load_batch(self, ids: ArrayLike, fields: Sequence[str] | None = None) -> dict[str, Any]:
        """Copy samples out; see ``SampleCache.load_batch``."""
        return self._base.load_batch(self._of_base(ids), fields)

    def payloads(self, field: str, ids: ArrayLike) -> Payloads:
        """Return where images are in memory; see ``SampleCache.payloads``."""
        return self._base.payloads(field, self._of_base(ids))

    def conditions(self, field: str) -> NDArray[np.uint8]:
        """Return the ``Condition`` of every sample's image, shape (num_samples,)."""
        return self._base.conditions(field)[self._ids]

    def value_index(self, field: str) -> ValueIndex:
        """Return which samples of the view have each value, by the index of the cache."""
        index = self._base.value_index(field)
        return index_values(field, _codes(index, len(self._base))[self._ids], index.values)

    def derived(self, field: str, name: str, recipe: Recipe | None = None) -> DerivedReader:
        """Open a derived field of the cache for the samples of the view."""
        return _DerivedSubset(self._base.derived(field, name, recipe), self._ids)

    def __repr__(self) -> str:
        return f"Subset: {len(self):,} samples of {self._base!r}"

    def _of_base(self, ids: ArrayLike) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self._ids[check_ids(ids, len(self), "the subset")]
        return found


class Concatenation(SampleReader):
    """The samples of several caches; made by ``concatenate``.

    Parameters
    ----------
    members : tuple of SampleReader
        At least one, all with the same fields.
    """

    def __init__(self, members: tuple[SampleReader, ...]) -> None:
        self._members = members
        self._split = _Split([len(member) for member in members])

    @property
    def num_samples(self) -> int:
        """Number of samples; valid ids are 0 to this, excluded."""
        return self._split.num_samples

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        """Field name to how it is stored, in the order of the first cache."""
        return self._members[0].fields

    @property
    def key(self) -> str:
        """Hash of the members' keys, 16 hexadecimal characters."""
        first, *others = (member.key for member in self._members)
        return _key_of(first, "".join(others).encode())

    @property
    def caches(self) -> tuple[SampleCache, ...]:
        """The caches that hold the samples, each once."""
        found = {cache.cache_dir: cache for member in self._members for cache in member.caches}
        return tuple(found.values())

    def load_batch(self, ids: ArrayLike, fields: Sequence[str] | None = None) -> dict[str, Any]:
        """Copy samples out; see ``SampleCache.load_batch``."""
        names = list(self.fields) if fields is None else list(fields)
        unknown = [name for name in names if name not in self.fields]
        if unknown:
            raise FieldNotFoundError(
                f"there is no field {unknown[0]!r}; there are {list(self.fields)}"
            )
        images = [name for name in names if self.fields[name].kind == "image"]
        others = [name for name in names if name not in images]
        read = self._split.apply(
            ids, lambda number, of: self._members[number].load_batch(of, others)
        )
        batch = {name: _merge_values([(at, part[name]) for at, part in read]) for name in others}
        batch |= {name: load_images(self.payloads(name, ids)) for name in images}
        return {name: batch[name] for name in names}

    def payloads(self, field: str, ids: ArrayLike) -> Payloads:
        """Return where images are in memory; see ``SampleCache.payloads``."""
        return _merge_located(
            self._split.apply(ids, lambda number, of: self._members[number].payloads(field, of))
        )

    def conditions(self, field: str) -> NDArray[np.uint8]:
        """Return the ``Condition`` of every sample's image, shape (num_samples,)."""
        return np.concatenate([member.conditions(field) for member in self._members])

    def value_index(self, field: str) -> ValueIndex:
        """Return which samples have each value, by the indexes of the caches."""
        indexes = [member.value_index(field) for member in self._members]
        values = np.unique(np.concatenate([index.values for index in indexes]))
        codes = [
            np.searchsorted(values, index.values)[_codes(index, len(member))]
            for index, member in zip(indexes, self._members, strict=True)
        ]
        return index_values(field, np.concatenate(codes), values)

    def derived(self, field: str, name: str, recipe: Recipe | None = None) -> DerivedReader:
        """Open a field that was derived in all of the caches, by one recipe."""
        found = tuple(member.derived(field, name, recipe) for member in self._members)
        if any(one.recipe != found[0].recipe for one in found):
            raise DerivedNotFoundError(
                f"{field}.{name} was not derived by one recipe in all of the caches"
            )
        return _DerivedConcatenation(found, self._split)

    def __repr__(self) -> str:
        members = "\n".join(map(repr, self._members))
        return f"Concatenation: {len(self):,} samples of {len(self._members)} caches\n{members}"


class _DerivedSubset(DerivedReader):
    """A derived field of some samples."""

    def __init__(self, base: DerivedReader, ids: NDArray[np.int64]) -> None:
        self._base, self._ids, self.recipe = base, ids, base.recipe

    @property
    def num_bytes(self) -> int:
        return self._base.num_bytes

    def __len__(self) -> int:
        return len(self._ids)

    def load(self, ids: ArrayLike) -> Any:
        return self._base.load(self._of_base(ids))

    def payloads(self, ids: ArrayLike) -> Payloads:
        return self._base.payloads(self._of_base(ids))

    def blobs(self, ids: ArrayLike) -> Blobs:
        return self._base.blobs(self._of_base(ids))

    def _of_base(self, ids: ArrayLike) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self._ids[check_ids(ids, len(self), "the subset")]
        return found


class _DerivedConcatenation(DerivedReader):
    """A derived field of several caches."""

    def __init__(self, members: tuple[DerivedReader, ...], split: _Split) -> None:
        self._members, self._split, self.recipe = members, split, members[0].recipe

    @property
    def num_bytes(self) -> int:
        return sum(member.num_bytes for member in self._members)

    def __len__(self) -> int:
        return self._split.num_samples

    def load(self, ids: ArrayLike) -> Any:
        if self.recipe.spec.kind == "image":
            return load_images(self.payloads(ids))
        return _merge_values(
            self._split.apply(ids, lambda number, of: self._members[number].load(of))
        )

    def payloads(self, ids: ArrayLike) -> Payloads:
        return _merge_located(
            self._split.apply(ids, lambda number, of: self._members[number].payloads(of))
        )

    def blobs(self, ids: ArrayLike) -> Blobs:
        return _merge_located(
            self._split.apply(ids, lambda number, of: self._members[number].blobs(of))
        )


class _Split:
    """Divides ids among members that have so many samples each."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._starts = np.cumsum([0, *sizes])
        self.num_samples = int(self._starts[-1])

    def apply(
        self, ids: ArrayLike, read: Callable[[int, NDArray[np.int64]], _Read]
    ) -> list[tuple[NDArray[np.int64], _Read]]:
        """Read the ids of each member that has any; returns their positions and what was read."""
        valid = check_ids(ids, self.num_samples, "the concatenation")
        owners = np.searchsorted(self._starts, valid, side="right") - 1
        return [
            (at := np.flatnonzero(owners == number), read(number, valid[at] - self._starts[number]))
            for number in (np.unique(owners).tolist() or [0])
        ]


def _merge_values(read: list[tuple[NDArray[np.int64], Any]]) -> Any:
    """Dense arrays or lists of members, put at their positions."""
    if len(read) == 1:
        return read[0][1]
    count = sum(len(at) for at, _ in read)
    first = read[0][1]
    if isinstance(first, list):
        values: list[Any] = [None] * count
        for at, part in read:
            for position, value in zip(at.tolist(), part, strict=True):
                values[position] = value
        return values
    out = np.empty((count, *first.shape[1:]), first.dtype)
    for at, part in read:
        out[at] = part
    return out


def _merge_located(read: list[tuple[NDArray[np.int64], _Located]]) -> _Located:
    """Addresses and headers of members, put at their positions; their owners are kept together."""
    first = read[0][1]
    if len(read) == 1:
        return first
    names = [column.name for column in columns_of(first) if column.name != "owner"]
    merged = {
        name: _merge_values([(at, getattr(part, name)) for at, part in read]) for name in names
    }
    return type(first)(**merged, owner=tuple(part.owner for _, part in read))


def _key_of(first: str, others: bytes) -> str:
    return xxhash.xxh3_64_hexdigest(b"view of " + first.encode() + others)


def _codes(index: ValueIndex, num_samples: int) -> NDArray[np.int64]:
    """For each sample the number of its value."""
    codes = np.empty(num_samples, np.int64)
    codes[index.ids] = np.repeat(np.arange(len(index)), np.diff(index.offsets))
    return codes
