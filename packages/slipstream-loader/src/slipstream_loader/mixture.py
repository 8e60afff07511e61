"""Several caches in one loader, each with a share of every epoch; and balanced classes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import (
    Concatenation,
    FieldSpec,
    FieldTypeError,
    IndexNotFoundError,
    SampleReader,
    write_index,
)
from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.groups import Groups
from slipstream_loader.prepare import open_samples

_logger = logging.getLogger(__name__)


def mix(
    sources: Mapping[str, Any],
    weights: Mapping[str, float] | None = None,
    *,
    epoch_samples: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    verbose: bool = True,
) -> Mixture:
    """Mix data sets: a loader of the mixture serves each in its share.

    Parameters
    ----------
    sources : mapping of str to data set
        Name -> a cache, a view, a ``SlipstreamDataset``, or anything that it takes as its source.
        Caches are built where there are none.
    weights : mapping of str to float, optional
        Name -> share of an epoch, in any unit; default: the number of its samples. Names that are
        left out have the share 0.
    epoch_samples : int, optional
        Samples of an epoch over all ranks; default: all that the sources with a share have.
    cache_dir : path, optional
        Directory that holds caches.
    verbose : bool
        Whether building caches shows its progress.

    Returns
    -------
    Mixture
        To be given to ``SlipstreamLoader`` as its data set.

    Raises
    ------
    ValueError
        There is no source; a weight is of no source, negative, or of one that would never come.
    FieldTypeError
        The sources have no fields in common, or a field differs between them.

    Examples
    --------
    >>> mixture = mix({"photos": "photos", "sketches": "s.beton"},
    ...               weights={"photos": 3, "sketches": 1})  # doctest: +SKIP
    """
    if not sources:
        raise ValueError("there is nothing to mix")
    unknown = [name for name in weights or {} if name not in sources]
    if unknown:
        raise ValueError(f"weights names {unknown[0]!r}; the sources are {list(sources)}")
    if epoch_samples is not None and epoch_samples < 1:
        raise ValueError(f"epoch_samples must be positive, got {epoch_samples}")
    members = {}
    for name, source in sources.items():
        if not isinstance(source, (SlipstreamDataset, SampleReader)):
            source = SlipstreamDataset(source, cache_dir=cache_dir)
        is_open = isinstance(source, SampleReader)
        members[name] = source if is_open else open_samples(source, verbose=verbose)
    shares = [
        float(len(member)) if weights is None else float(weights.get(name, 0.0))
        for name, member in members.items()
    ]
    return Mixture(members, np.array(shares), epoch_samples)


class Mixture(Concatenation):
    """Data sets one after another, each with a share of an epoch; made by ``mix``.

    Its fields are those that all of them have. Without shuffling it is served as it is, one sample
    after another.

    Parameters
    ----------
    members : mapping of str to SampleReader
    shares : ndarray of float64, shape (members,)
    epoch_samples : int, optional
    """

    def __init__(
        self,
        members: Mapping[str, SampleReader],
        shares: NDArray[np.float64],
        epoch_samples: int | None,
    ) -> None:
        super().__init__(tuple(members.values()))
        self.names = tuple(members)
        """Names of the sources."""
        self._shares, self._epoch_samples = shares, epoch_samples
        self._starts = np.cumsum([0, *map(len, members.values())])
        self._fields = _common_fields(members)
        self.groups()  # tells what is wrong with the shares

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        """Field name to how it is stored, in the order of the first source."""
        return self._fields

    def source_of(self, sample_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The source of each sample, as a position in ``names``; same shape."""
        found: NDArray[np.int64] = np.searchsorted(self._starts, sample_ids, side="right") - 1
        return found

    @property
    def first_ids(self) -> dict[str, int]:
        """Name of a source -> its first sample id."""
        return dict(zip(self.names, self._starts[:-1].tolist(), strict=True))

    def groups(self, indices: NDArray[np.int64] | None = None) -> Groups:
        """The sources as groups of an epoch, of all samples or of some."""
        codes = np.repeat(np.arange(len(self.names)), np.diff(self._starts))
        kept = _restricted(codes, indices)
        return Groups.of_codes(kept, self._shares, self._epoch_samples)

    def __repr__(self) -> str:
        total = self._shares.sum()
        lines = [
            f"  {name}: {size:,} samples, {100 * share / total:.4g} % of an epoch"
            for name, size, share in zip(
                self.names, np.diff(self._starts), self._shares, strict=True
            )
        ]
        return "\n".join([f"Mixture: {self.groups().num_samples:,} samples an epoch", *lines])


def first_ids_of(cache: SampleReader) -> dict[str, int] | None:
    """Name of a source -> its first sample id, of a mixture."""
    return cache.first_ids if isinstance(cache, Mixture) else None


def groups_of(
    cache: SampleReader,
    balance: str | None,
    indices: NDArray[np.int64] | None,
    order: object,
    others: Mapping[str, Any],
) -> Groups | None:
    """The groups of an epoch, if there are any: the sources of a mixture, or balanced values.

    Parameters
    ----------
    cache : SampleReader
    balance : str, optional
        Field whose values come equally often.
    indices : ndarray of int64, optional
        The samples to serve.
    order : order
        Groups are served in random order only.
    others : mapping
        Arguments that say themselves which samples come, or None each.

    Raises
    ------
    ValueError
        Balancing is asked for with another order, or with one of the others.
    """
    decided = [name for name, value in others.items() if value is not None]
    if balance is None:
        if not isinstance(cache, Mixture) or decided or order == "sequential":
            return None
        if order != "random":
            raise ValueError(
                f"a mixture is served in random order, or sequentially, not by {order!r}"
            )
        return cache.groups(indices)
    if decided or order != "random":
        raise ValueError(f"balance needs the order 'random', and excludes {list(others)}")
    return _balanced(cache, balance, indices)


def _balanced(cache: SampleReader, field: str, indices: NDArray[np.int64] | None) -> Groups:
    try:
        index = cache.value_index(field)
    except IndexNotFoundError:
        _logger.info("indexing the values of field %r", field)
        for one in cache.caches:
            write_index(one, field)
        index = cache.value_index(field)
    codes = np.empty(len(cache), np.int64)
    codes[index.ids] = np.repeat(np.arange(len(index)), np.diff(index.offsets))
    if indices is not None:
        codes = _restricted(codes, indices)
        present = np.unique(codes[codes >= 0])
        codes[codes >= 0] = np.searchsorted(present, codes[codes >= 0])
    return Groups.of_codes(codes, np.ones(int(codes.max(initial=-1)) + 1))


def _restricted(codes: NDArray[np.int64], indices: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """The groups of some samples; -1 for the others."""
    if indices is None:
        return codes
    kept = np.full(codes.size, -1, np.int64)
    kept[indices] = codes[indices]
    return kept


def _common_fields(members: Mapping[str, SampleReader]) -> dict[str, FieldSpec]:
    first, *others = members.items()
    common = {}
    for field, spec in first[1].fields.items():
        if not all(field in member.fields for _, member in others):
            continue
        for name, member in others:
            if member.fields[field] != spec:
                raise FieldTypeError(
                    f"field {field!r} is {member.fields[field]} in {name!r}, and {spec} in "
                    f"{first[0]!r}"
                )
        common[field] = spec
    if not common:
        raise FieldTypeError(f"{list(members)} have no field in common")
    return common
