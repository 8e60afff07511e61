"""``Groups``: epochs in which each group of samples has a share of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders import stream_key, uniforms, words

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Groups:
    """Samples in groups, of which each gives so many samples to every epoch.

    A group is served in random order, again and again: epoch after epoch takes the next samples of
    that endless list. So no sample comes a second time before all others of its group came once,
    also over epochs, and the epoch's share of each group is exact.
    """

    ids: Ids
    """Shape (N,): sample ids, group after group, ascending in each."""
    starts: Ids
    """Shape (groups + 1,): where each group begins in ``ids``."""
    counts: Ids
    """Shape (groups,): samples of each in an epoch."""

    @classmethod
    def of_codes(
        cls, codes: Ids, shares: NDArray[np.float64], num_samples: int | None = None
    ) -> Groups:
        """Group samples by numbers.

        Parameters
        ----------
        codes : ndarray of int64, shape (N,)
            The group of each sample; -1: in none.
        shares : ndarray of float64, shape (groups,)
            How much of an epoch each group is, in any unit. Groups of share 0 do not come.
        num_samples : int, optional
            Samples of an epoch; default: as many as are in groups that come.

        Raises
        ------
        ValueError
            A share is negative or not finite, or there are fewer samples in an epoch than groups; a
            group without samples has a share.
        """
        if not np.isfinite(shares).all() or (shares < 0).any() or shares.sum() <= 0:
            raise ValueError("shares must be finite, not negative, and not all zero")
        sizes = np.bincount(codes[codes >= 0], minlength=shares.size)
        empty = np.flatnonzero((sizes == 0) & (shares > 0))
        if empty.size:
            raise ValueError(f"group {empty[0]} has a share, but no samples")
        used = shares > 0
        wanted = int(sizes[used].sum()) if num_samples is None else num_samples
        counts = _apportioned(shares, wanted)
        if (counts[used] == 0).any():
            raise ValueError(
                f"an epoch of {wanted} samples is too short: some of its {used.sum()} groups would "
                "never come"
            )
        order = np.argsort(codes, kind="stable")[int((codes < 0).sum()) :]
        return cls(order.astype(np.int64), np.concatenate([[0], np.cumsum(sizes)]), counts)

    @property
    def num_samples(self) -> int:
        """Samples of an epoch."""
        return int(self.counts.sum())

    @cached_property
    def digest(self) -> str:
        """Hash of groups and shares."""
        digest = hashlib.sha256()
        for array in (self.ids, self.starts, self.counts):
            digest.update(array.astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    def draws(self, seed: int, epoch: int) -> Ids:
        """The sample ids of an epoch in their order.

        Returns
        -------
        ndarray of int64, shape (num_samples,)
        """
        sizes = np.maximum(1, np.diff(self.starts))
        begin, end = epoch * self.counts, (epoch + 1) * self.counts
        first, last = begin // sizes, end // sizes
        low, high = begin % sizes, end % sizes
        split = first < last
        rounds = [
            self._stretch(seed, first, low, np.where(split, sizes, high)),
            self._stretch(seed, last, np.zeros_like(low), np.where(split, high, 0)),
        ]
        whole = np.repeat(np.where(split, last - first - 1, 0), np.diff(self.starts))
        rounds.append(np.repeat(self.ids, whole))  # whole rounds need no order of their own
        drawn = np.concatenate(rounds)
        order = np.argsort(words(stream_key(seed, epoch, "order"), drawn.size), kind="stable")
        ordered: Ids = drawn[order]
        return ordered

    def _stretch(self, seed: int, rounds: Ids, begin: Ids, end: Ids) -> Ids:
        """Of each group the places ``begin`` to ``end`` of a round through it."""
        active = np.flatnonzero(end > begin)
        lengths = np.diff(self.starts)[active]
        groups = np.repeat(np.arange(active.size), lengths)
        places = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        ids = self.ids[self.starts[active][groups] + places]
        key = stream_key(seed, 0, "order", "groups")
        mixing = uniforms(key, ids, rounds[active][groups], 1)[:, 0]
        mixed = ids[np.lexsort((mixing, groups))]
        inside = (places >= begin[active][groups]) & (places < end[active][groups])
        taken: Ids = mixed[inside]
        return taken


def _apportioned(shares: NDArray[np.float64], total: int) -> Ids:
    """Whole numbers of one sum that are nearest to shares of it; of equal rests, the first."""
    exact = shares / shares.sum() * total
    counts: Ids = np.floor(exact).astype(np.int64)
    rest = total - int(counts.sum())
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[:rest]] += 1
    return counts
