"""``EpochPlan``: the batches of one epoch on one rank, known before anything is read.

Rank r of W takes every W-th sample of the epoch's order, so that the W ranks' batches number k
together are the samples k*B*W to (k+1)*B*W of the order, whatever W and the batch size B are. An
epoch can therefore be left and taken up again with other numbers of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_loader.errors import EmptyDatasetError, LoaderError
from slipstream_loader.groups import Groups
from slipstream_loader.order import (
    OrderName,
    QuasiRandom,
    block_order,
    occurrences,
    permutation,
    shuffled_blocks,
    weighted_draws,
)
from slipstream_loader.ranks import Ranks

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class EpochPlan:
    """The batches of one epoch, or of what is left of it, on one rank."""

    sample_ids: Ids
    """Shape (n,): the ids of all batches, one after another."""
    occurrences: Ids
    """Shape (n,): how often the id came before in this epoch, on any rank."""
    is_padding: NDArray[np.bool_]
    """Shape (n,): repeats that only make the ranks equal; they must not be counted."""
    starts: Ids
    """Shape (batches + 1,): where each batch begins, and where the last one ends."""
    position: int
    """Samples of the epoch that all ranks together have returned before this plan."""
    end: int
    """Samples of the epoch over all ranks."""
    world_size: int

    def __len__(self) -> int:
        return self.starts.size - 1

    def batch(self, number: int) -> slice:
        """The rows of one batch."""
        return slice(int(self.starts[number]), int(self.starts[number + 1]))

    def position_after(self, num_batches: int) -> int:
        """Samples that all ranks together have returned after some batches of this plan."""
        if num_batches == len(self):
            return self.end
        return min(self.position + int(self.starts[num_batches]) * self.world_size, self.end)


@dataclass(frozen=True)
class Selection:
    """Which samples an epoch is made of, in which order, for which ranks."""

    num_stored: int
    """Samples in the cache."""
    batch_size: int
    order: OrderName | QuasiRandom
    drop_last: bool
    ranks: Ranks
    indices: Ids | None = None
    weights: NDArray[np.float64] | None = None
    groups: Groups | None = None
    """Say which samples come, of the indices only, in place of the order."""
    repeats: int = 1
    sampler: Iterable[int] | None = None
    batch_sampler: Iterable[Sequence[int]] | None = None

    def __post_init__(self) -> None:
        _check_exclusive(self)
        _check_node_local(self)
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, got {self.repeats}")
        if self.indices is not None:
            self._check_ids(self.indices, "indices")
        if self.weights is not None:
            _check_weights(self.weights, self._num_chosen)

    @property
    def is_elastic(self) -> bool:
        """Whether an epoch can be resumed with another number of ranks."""
        return not (self._is_node_local or self.order == "contiguous" or self._is_given_by_rank)

    @property
    def _is_node_local(self) -> bool:
        return isinstance(self.order, QuasiRandom) and self.order.node_local

    @property
    def _is_given_by_rank(self) -> bool:
        return self.sampler is not None or self.batch_sampler is not None

    @property
    def _num_chosen(self) -> int:
        return self.num_stored if self.indices is None else self.indices.size

    @property
    def num_samples(self) -> int:
        """Samples of an epoch over all ranks, with repeats, without padding."""
        chosen = self._num_chosen if self.groups is None else self.groups.num_samples
        return chosen * self.repeats

    def describe(self) -> str:
        """The order and what it selects from, as text that is equal for equal selections."""
        parts = [str(self.order)]
        for name in ("indices", "weights"):
            array = getattr(self, name)
            if array is not None:
                digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
                parts.append(f"{name} {digest[:16]}")
        parts += [] if self.groups is None else [f"groups {self.groups.digest}"]
        parts += [f"repeats {self.repeats}"] if self.repeats > 1 else []
        for name in ("sampler", "batch_sampler"):
            if getattr(self, name) is not None:
                parts.append(f"{name} {type(getattr(self, name)).__name__}")
        return ", ".join(parts)

    def num_batches(self) -> int:
        """Batches of a whole epoch on this rank.

        Raises
        ------
        EmptyDatasetError
            If there are no samples, or ``drop_last`` would drop all of them.
        """
        if self.batch_sampler is not None:
            return len(self.batch_sampler)  # type: ignore[arg-type]
        local = self._share(0) if self.sampler is None else len(self.sampler)  # type: ignore[arg-type]
        if local == 0 and self.num_samples == 0:
            raise EmptyDatasetError("there are no samples: the data set or the subset is empty")
        if self.drop_last and local < self.batch_size:
            raise EmptyDatasetError(
                f"drop_last would drop all samples: a rank's share of {local} is smaller than "
                f"one batch of {self.batch_size}; use a smaller batch_size or drop_last=False"
            )
        return self._batches_of(local)

    def plan(self, seed: int, epoch: int, position: int = 0) -> EpochPlan:
        """The batches of one epoch from a position on.

        Parameters
        ----------
        seed, epoch : int
        position : int
            Samples of the epoch that all ranks together have returned.
        """
        if self._is_given_by_rank:
            return self._plan_of_sampler(epoch, position)
        ids = self._ordered_ids(seed, epoch)
        counts = self._occurrences(ids)
        rows, is_padding = self._rows_of_rank(seed, epoch, position)
        num_batches = self._batches_of(rows.size)
        size = min(num_batches * self.batch_size, rows.size)
        world_size = self.ranks.world_size
        end = position + size * world_size
        if self.is_elastic and not self.drop_last:
            end = self.num_samples
        return EpochPlan(
            sample_ids=ids[rows[:size]],
            occurrences=counts[rows[:size]],
            is_padding=is_padding[:size],
            starts=np.minimum(np.arange(num_batches + 1) * self.batch_size, size),
            position=position,
            end=end,
            world_size=world_size,
        )

    def _ordered_ids(self, seed: int, epoch: int) -> Ids:
        if self.groups is not None:
            ids = self.groups.draws(seed, epoch)
        else:
            ids = self._chosen_ids(seed, epoch)
        return np.repeat(ids, self.repeats) if self.repeats > 1 else ids

    def _chosen_ids(self, seed: int, epoch: int) -> Ids:
        if self.weights is not None:
            places = weighted_draws(self.weights, seed, epoch)
        else:
            places = permutation(self.order, self._num_chosen, seed, epoch)
        return places if self.indices is None else self.indices[places]

    def _occurrences(self, ids: Ids) -> Ids:
        is_once = self.weights is None and self.indices is None and self.groups is None
        if is_once and self.repeats == 1:
            return np.zeros_like(ids)
        return occurrences(ids)

    def _share(self, position: int) -> int:
        """Samples that each rank still serves, padding included."""
        world_size = self.ranks.world_size
        if isinstance(self.order, QuasiRandom) and self.order.node_local:
            share = self._node_share(self.order) // self.ranks.local_world_size
            return share - position // world_size
        if self.order == "contiguous":
            return _divided(self.num_samples, world_size, self.drop_last) - position // world_size
        return _divided(self.num_samples - position, world_size, self.drop_last)

    def _node_share(self, order: QuasiRandom) -> int:
        """Samples of each node, the same in every epoch, whichever node gets the short block."""
        ranks, size = self.ranks, order.block_samples
        num_blocks = -(-self.num_samples // size)
        if ranks.world_size % ranks.local_world_size or num_blocks < ranks.num_nodes:
            raise LoaderError(
                "node-local order needs nodes with equal numbers of ranks and a block for each: "
                f"there are {num_blocks} blocks of {size} samples for {ranks.num_nodes} nodes"
            )
        share = _divided(num_blocks, ranks.num_nodes, self.drop_last) * size
        if self.drop_last:
            share -= num_blocks * size - self.num_samples
        return _divided(share, ranks.local_world_size, self.drop_last) * ranks.local_world_size

    def _batches_of(self, local: int) -> int:
        return _divided(local, self.batch_size, self.drop_last)

    def _rows_of_rank(self, seed: int, epoch: int, position: int) -> tuple[Ids, NDArray[np.bool_]]:
        """Rows of the epoch's order that this rank serves, and which of them are padding."""
        rank, world_size = self.ranks.rank, self.ranks.world_size
        numbers = np.arange(self._share(position), dtype=np.int64)
        if isinstance(self.order, QuasiRandom) and self.order.node_local:
            return self._node_rows(self.order, numbers + position // world_size, seed, epoch)
        if self.order == "contiguous":
            rows = rank * self._share(0) + position // world_size + numbers
        else:
            rows = position + rank + world_size * numbers
        return rows % self.num_samples, rows >= self.num_samples

    def _node_rows(
        self, order: QuasiRandom, numbers: Ids, seed: int, epoch: int
    ) -> tuple[Ids, NDArray[np.bool_]]:
        """Each node takes blocks of its own; the ranks of a node share them by turns."""
        ranks, num_samples = self.ranks, self.num_samples
        row_of_place = np.empty(num_samples, np.int64)
        row_of_place[permutation(order, num_samples, seed, epoch)] = np.arange(num_samples)
        blocks = block_order(order, num_samples, seed, epoch)[ranks.node :: ranks.num_nodes]
        places = shuffled_blocks(order, blocks, num_samples, seed, epoch)
        turns = ranks.rank % ranks.local_world_size + ranks.local_world_size * numbers
        return row_of_place[places[turns % places.size]], turns >= places.size

    def _plan_of_sampler(self, epoch: int, position: int) -> EpochPlan:
        """A torch sampler says which samples; it has its own idea of ranks."""
        source: Any = self.batch_sampler if self.batch_sampler is not None else self.sampler
        for holder in (source, getattr(source, "sampler", None)):
            set_epoch: Callable[[int], None] | None = getattr(holder, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(epoch)
        if self.batch_sampler is not None:
            batches = [np.array(list(batch), np.int64) for batch in self.batch_sampler]
            ids = np.concatenate(batches) if batches else np.empty(0, np.int64)
            starts = np.cumsum([0, *(batch.size for batch in batches)])
        else:
            ids = np.fromiter(source, np.int64)
            num_batches = self._batches_of(ids.size)
            starts = np.minimum(np.arange(num_batches + 1) * self.batch_size, ids.size)
        self._check_ids(ids, "the sampler")
        done = position // self.ranks.world_size
        first = int(np.searchsorted(starts, done))
        if first >= starts.size or starts[first] != done:
            raise LoaderError(
                f"the saved position, {done} samples on each rank, is not at a batch's border: "
                "resume with the batch size of the run that was saved"
            )
        return EpochPlan(
            sample_ids=ids,
            occurrences=occurrences(ids),
            is_padding=np.zeros(ids.size, bool),
            starts=starts[first:],
            position=position - done * self.ranks.world_size,
            end=int(starts[-1]) * self.ranks.world_size,
            world_size=self.ranks.world_size,
        )

    def _check_ids(self, ids: Ids, name: str) -> None:
        if ids.ndim != 1:
            raise ValueError(f"{name} must be a list of sample ids, got shape {ids.shape}")
        if ids.size and not 0 <= ids.min() <= ids.max() < self.num_stored:
            wrong = ids[(ids < 0) | (ids >= self.num_stored)][0]
            raise IndexError(f"{name}: sample id {wrong} is not in [0, {self.num_stored})")


def _divided(number: int, parts: int, drop: bool) -> int:
    """``number / parts``, rounded down if the rest is dropped, else up; never negative."""
    return max(0, number // parts if drop else -(-number // parts))


def _check_exclusive(selection: Selection) -> None:
    """A sampler says everything about the order; nothing else may."""
    for name in ("sampler", "batch_sampler"):
        if getattr(selection, name) is None:
            continue
        others = [
            other
            for other in ("indices", "weights", "sampler", "batch_sampler")
            if other != name and getattr(selection, other) is not None
        ]
        others += ["repeats"] if selection.repeats != 1 else []
        if others:
            raise ValueError(f"{name} already says which samples come: it excludes {others}")
        if not hasattr(getattr(selection, name), "__len__"):
            raise TypeError(f"{name} must have a length, or the loader would have none")


def _check_node_local(selection: Selection) -> None:
    """Blocks stay on their node only if the order is one of blocks, each sample once."""
    if not selection._is_node_local:
        return
    others = ["weights"] if selection.weights is not None else []
    others += ["repeats"] if selection.repeats > 1 else []
    if others:
        raise ValueError(
            f"QuasiRandom(node_local=True) with {others}: samples would not stay on their node; "
            "use node_local=False"
        )


def _check_weights(weights: NDArray[np.float64], expected: int) -> None:
    if weights.shape != (expected,):
        raise ValueError(f"weights must be one number for each of {expected} samples")
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise ValueError("weights must be finite, not negative, and not all zero")
