"""``SlipstreamLoader``: the public face. It iterates; others read, decode and build."""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_cache import SampleCache
from slipstream_decoders import BatchContext, BufferPool, StageLike
from slipstream_loader.batches import Batch, BatchMaker
from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.errors import LoaderError
from slipstream_loader.order import OrderName, epoch_order, num_batches
from slipstream_loader.prefetch import PrefetchIterator
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.telemetry import LoaderStats, Telemetry


@dataclass(frozen=True)
class _Epoch:
    """Makes the batches of one epoch by number. It knows nothing of the loader or its iterators."""

    maker: BatchMaker
    order: NDArray[np.int64]
    batch_size: int
    seed: int
    epoch: int
    buffers: BufferPool
    num_threads: int | None

    def make(self, number: int) -> Batch:
        begin = number * self.batch_size
        context = BatchContext(
            sample_ids=self.order[begin : begin + self.batch_size],
            seed=self.seed,
            epoch=self.epoch,
            buffers=self.buffers,
            num_threads=self.num_threads,
        )
        return self.maker.make(context)


class SlipstreamLoader:
    """Serve shuffled, decoded and transformed batches of a data set, made ahead of the consumer.

    The first loader of a data set builds its cache; every later one opens it.

    Parameters
    ----------
    dataset : SlipstreamDataset, or anything it takes as its source
    batch_size : int
    pipelines : mapping, optional
        Field -> stage or list of stages. The first stage of an image field decodes. A dict that the
        last stage returns is merged into the batch. An image field without a pipeline is given as
        stored: a dict of what ``SampleCache.load_batch`` gives, as tensors.
    shuffle : bool
        Whether the order is random; short for ``order``.
    seed : int, optional
        Of the order and of every random stage; one is drawn if None.
    order : {"random", "sequential"}, optional
        Default: as ``shuffle`` says.
    drop_last : bool, optional
        Whether a smaller last batch is dropped. Default: when the order is random.
    device : device, optional
        Where the tensors of a batch end up; default: where the pipelines leave them.
    exclude_fields : sequence of str
        Fields that are not read.
    num_threads : int, optional
        Threads that decode; default: the CPUs of this process. All loaders share them.
    batches_ahead : int
        Batches made before the consumer asks for them.
    after_batch_transforms : sequence of callables
        Batch -> batch, applied to whole batches in the end.
    verbose : bool
        Whether building the cache shows its progress.

    Raises
    ------
    EmptyDatasetError
        If there are no samples, or ``drop_last`` would drop all of them.
    ValueError, TypeError
        If an argument is wrong.

    Examples
    --------
    >>> loader = SlipstreamLoader("photos", batch_size=64,
    ...                           pipelines={"image": [DecodeRandomResizedCrop(224), Normalize()]})
    ... # doctest: +SKIP

    Notes
    -----
    A batch belongs to the caller: keep it as long as you like. The pixels of a sample depend on
    (seed, epoch, sample id) only, not on batch size, threads or position.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 256,
        *,
        pipelines: Mapping[str, StageLike | Sequence[StageLike]] | None = None,
        shuffle: bool = True,
        seed: int | None = None,
        order: OrderName | None = None,
        drop_last: bool | None = None,
        device: Any = None,
        exclude_fields: Sequence[str] = (),
        num_threads: int | None = None,
        batches_ahead: int = 3,
        after_batch_transforms: Sequence[Callable[[Batch], Batch]] = (),
        verbose: bool = True,
    ) -> None:
        _check_positive("batch_size", batch_size)
        _check_positive("batches_ahead", batches_ahead)
        if num_threads is not None:
            _check_positive("num_threads", num_threads)
        if order not in (None, "random", "sequential"):
            raise ValueError(f"order must be 'random' or 'sequential', got {order!r}")
        self.dataset = (
            dataset if isinstance(dataset, SlipstreamDataset) else SlipstreamDataset(dataset)
        )
        self.batch_size = batch_size
        self.order: OrderName = order or ("random" if shuffle else "sequential")
        self.seed = secrets.randbits(63) if seed is None else int(seed)
        self.drop_last = self.order == "random" if drop_last is None else drop_last
        self.device = _usable_device(device)
        self.num_threads = num_threads
        self.batches_ahead = batches_ahead
        self.pipelines = dict(pipelines or {})
        self._telemetry = Telemetry()
        self._buffers = BufferPool(max_free=batches_ahead + 2)
        self._iterators: weakref.WeakSet[PrefetchIterator[Batch]] = weakref.WeakSet()
        self._next_epoch = 0
        fields = _chosen_fields(list(self.dataset.field_types), self.pipelines, exclude_fields)
        self.cache: SampleCache = prepare_cache(self.dataset, verbose=verbose)
        self._num_batches = num_batches(len(self.cache), batch_size, self.drop_last)
        self._maker = BatchMaker(
            self.cache,
            fields,
            self.pipelines,
            after_batch_transforms,
            self.device,
            self._telemetry,
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._num_batches

    def __iter__(self) -> Iterator[Batch]:
        """Start the next epoch. Several epochs may be iterated at once."""
        epoch = self._next_epoch
        self._next_epoch += 1
        make = _Epoch(
            maker=self._maker,
            order=epoch_order(self.order, len(self.cache), self.seed, epoch),
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=epoch,
            buffers=self._buffers,
            num_threads=self.num_threads,
        ).make
        iterator = PrefetchIterator(make, len(self), self.batches_ahead, self._telemetry.waited)
        self._iterators.add(iterator)
        return iterator

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is; without it, epochs count up from 0."""
        if epoch < 0:
            raise ValueError(f"epoch must not be negative, got {epoch}")
        self._next_epoch = epoch

    def stats(self) -> LoaderStats:
        """Where the time went since the start or the last ``reset_stats``."""
        return self._telemetry.snapshot()

    def reset_stats(self) -> None:
        """Count from zero."""
        self._telemetry.reset()

    def shutdown(self) -> None:
        """End all iterations and wait for their threads. The loader can be iterated again."""
        for iterator in list(self._iterators):
            iterator.close()

    def __repr__(self) -> str:
        return (
            f"SlipstreamLoader({len(self.cache):,} samples, batch_size={self.batch_size}, "
            f"{len(self):,} batches, order={self.order!r}, seed={self.seed}, "
            f"pipelines={list(self.pipelines)})"
        )


def _check_positive(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")


def _usable_device(device: Any) -> torch.device | None:
    if device is None:
        return None
    chosen = torch.device(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise LoaderError(f"device {chosen} was asked for, but torch sees no CUDA device")
    return chosen


def _chosen_fields(
    fields: Sequence[str], pipelines: Mapping[str, Any], exclude: Sequence[str]
) -> list[str]:
    """The fields to read; names that do not exist are errors, not surprises."""
    if isinstance(exclude, str):
        raise TypeError(f"exclude_fields takes a list of names, got the string {exclude!r}")
    for argument, names in (("pipelines", pipelines), ("exclude_fields", exclude)):
        unknown = [name for name in names if name not in fields]
        if unknown:
            raise ValueError(f"{argument} names {unknown}; the fields are {list(fields)}")
    both = [name for name in pipelines if name in exclude]
    if both:
        raise ValueError(f"fields {both} have a pipeline and are excluded")
    return [name for name in fields if name not in exclude]
