"""``SlipstreamLoader``: the public face. It iterates; others plan, read, decode and build."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from slipstream_cache import SampleReader, WarmUp
from slipstream_decoders import BatchContext, StageLike, default_num_threads, find_turbojpeg
from slipstream_loader.batches import Batch, checked_pipelines
from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.device_engines import agree_on_engines
from slipstream_loader.epoch import EpochBatches, EpochProgress
from slipstream_loader.errors import LoaderError
from slipstream_loader.failures import OnError
from slipstream_loader.growing_cache import GrowingCache
from slipstream_loader.mixture import first_ids_of
from slipstream_loader.order import OrderName, QuasiRandom, checked_order
from slipstream_loader.prefetch import PrefetchIterator, division_of_threads
from slipstream_loader.prepare import open_samples
from slipstream_loader.ranks import agreed_seed, check_agreement, find_ranks
from slipstream_loader.reading import check_image_format, open_reading, reading_options
from slipstream_loader.remote_cache import RemoteCache, sync_cache
from slipstream_loader.selection import selection_of
from slipstream_loader.state import LoaderState
from slipstream_loader.telemetry import LoaderStats, Telemetry
from slipstream_loader.transfer import (
    CudaTransfer,
    Delivery,
    batch_buffers,
    device_of,
    transfer_to,
)
from slipstream_loader.yuv420 import ImageFormat


class BatchIterator(Iterator[Batch]):
    """The batches of one epoch. It ends its threads when it is exhausted, closed or collected.

    Which epoch that is, is settled by the first ``next()``: trainers make iterators, sometimes
    several, before they set the epoch.
    """

    def __init__(self, loader: SlipstreamLoader) -> None:
        self._loader = loader
        self._progress: EpochProgress | None = None
        self._batches: PrefetchIterator[Delivery] | None = None
        self._is_closed = False

    def __next__(self) -> Batch:
        """The next batch; it belongs to the caller. Raises whatever made it fail."""
        if self._is_closed:
            raise StopIteration
        if self._batches is None or self._progress is None:
            self._progress, self._batches = self._loader._start_epoch()
        delivery = next(self._batches)
        self._progress.num_taken = self._batches.num_taken
        batch: Batch = self._loader._transfer.receive(delivery)
        return batch

    def close(self) -> None:
        """End the iteration and wait for its threads."""
        self._is_closed = True
        if self._batches is not None:
            self._batches.close()


class SlipstreamLoader:
    """Serve shuffled, decoded and transformed batches of a data set, made ahead of the consumer.

    The first loader of a data set builds its cache; every later one opens it.

    Parameters
    ----------
    dataset : SlipstreamDataset, or anything it takes as its source
    batch_size : int
        Samples of a batch on this rank.
    pipelines : mapping, optional
        Field -> stage or list of stages. The first stage of an image field decodes. A dict that the
        last stage returns is merged into the batch. An image field without a pipeline is given as
        stored: a dict of what ``SampleCache.load_batch`` gives, as tensors.
    shuffle : bool
        Whether the order is random; short for ``order``.
    seed : int, optional
        Of the order and of every random stage; if None, one is drawn that all ranks share.
    order : {"random", "sequential", "contiguous", "quasi_random"} or QuasiRandom, optional
        Default: as ``shuffle`` says. ``contiguous``: in order, each rank its own stretch.
        ``quasi_random``: for data larger than the memory.
    indices : array of int, optional
        The sample ids to serve; default: all.
    weights : array of float, optional
        One number for each sample (of ``indices``): draw as many samples as there are, with
        replacement, in proportion.
    balance : str, optional
        A field of numbers or text, such as ``"label"``, whose values shall come equally often. Its
        value index is made where there is none.
    sampler, batch_sampler : iterable of int, of lists of int, optional
        A torch sampler, which decides instead of ``order``; with several ranks it must serve its
        own rank, as ``DistributedSampler`` does.
    repeats : int
        Times that each sample comes in an epoch, one after another, with other crops (repeated
        augmentation).
    drop_last : bool, optional
        Whether a smaller last batch is dropped. Default: when the order is random. If not, ranks
        are made equal by repeats, which the mask ``_padding`` marks.
    distributed : bool, optional
        Default: as torch.distributed, torchrun or srun say. False: serve everything here.
    device : device, optional
        Where the tensors of a batch end up; default: where the pipelines leave them.
    image_format : {"jpeg", "yuv420"}
        ``jpeg``: images as they are stored. ``yuv420``: their planes, which are made once, beside
        them in the cache, and take 1.5 bytes a pixel; crops are then several times as fast.
    image_field : str, optional
        The field that ``image_format`` is about; needed if several hold images.
    exclude_fields : sequence of str
        Fields that are not read.
    num_threads : int, optional
        Threads that decode; default: the CPUs of this process. More than two are shared by all
        loaders of the process.
    batches_ahead : int
        Batches made before the consumer asks for them.
    pin_memory : bool, optional
        Whether images are decoded into page-locked memory. Default: if ``device`` is a GPU.
    on_error : {"raise", "skip", "replace", "zero"}
        What becomes of a sample whose image cannot be decoded: an error that names it; a smaller
        batch; another sample, chosen by seed and epoch; a zero image. The mask ``_valid`` marks
        the samples that are right, with the last two. ``stats()`` counts them.
    seek_points : bool
        Make the seek points of JPEGs whose crops are decoded, once, if the cache has none:
        about the time of one epoch, 3 to 4 % of the images' size. Those that exist are always used.
    after_batch_transforms : sequence of callables
        Batch -> batch, applied to whole batches in the end.
    remote_cache : str or RemoteCache, optional
        Where caches are shared, ``s3://bucket/prefix``: a cache that is not here is downloaded
        from there, or else built and uploaded, and so is what is added to it. If that fails, it is
        a warning, and the cache is built and used here; `RemoteCache` has ``strict``, and more.
    remote_cache_endpoint_url : str, optional
        Of an S3-compatible service, such as ``https://s3.wasabisys.com``.
    presync_s3 : bool
        Copy a LitData data set from S3 as a whole before its cache is built (``sync_s3_dataset``).
    overlap_build : bool
        Begin before the cache of a data set on S3 is built: the first epoch reads from the source
        what is not stored yet, in the same order. Seek points and sharing follow when the first
        epoch that finds the cache complete begins. Shutting the loader down or dropping it ends
        the build; the next loader goes on with it. Not with ``yuv420`` or ``presync_s3``, nor where
        bad samples are skipped or replaced.
    verbose : bool
        Whether building the cache and seek points shows its progress (on rank 0).

    Raises
    ------
    EmptyDatasetError
        If there are no samples, or ``drop_last`` would drop all of them.
    LoaderError
        If ranks disagree, or the device is not there.
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
    (seed, epoch, sample id, occurrence) only, not on batch size, threads, ranks or position.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 256,
        *,
        pipelines: Mapping[str, StageLike | Sequence[StageLike]] | None = None,
        shuffle: bool = True,
        seed: int | None = None,
        order: OrderName | QuasiRandom | None = None,
        indices: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        balance: str | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        repeats: int = 1,
        drop_last: bool | None = None,
        distributed: bool | None = None,
        device: Any = None,
        image_format: ImageFormat = "jpeg",
        image_field: str | None = None,
        exclude_fields: Sequence[str] = (),
        num_threads: int | None = None,
        batches_ahead: int = 3,
        pin_memory: bool | None = None,
        on_error: OnError = "raise",
        seek_points: bool = True,
        after_batch_transforms: Sequence[Callable[[Batch], Batch]] = (),
        remote_cache: str | RemoteCache | None = None,
        remote_cache_endpoint_url: str | None = None,
        presync_s3: bool = False,
        overlap_build: bool = False,
        verbose: bool = True,
    ) -> None:
        arguments = {
            name: value for name, value in locals().items() if name not in ("self", "dataset")
        }
        for name in ("batch_size", "batches_ahead", "num_threads", "repeats"):
            _check_positive(name, arguments[name])
        self.order = checked_order(order, shuffle)
        self.dataset = (
            dataset if isinstance(dataset, SlipstreamDataset) else SlipstreamDataset(dataset)
        )
        self._arguments = arguments
        self.batch_size, self.num_threads = batch_size, num_threads
        self.batches_ahead = batches_ahead
        self.pipelines = checked_pipelines(pipelines)
        self.device = _usable_device(device)
        self._ranks = find_ranks(distributed)
        _check_contradictions(arguments, self._ranks.world_size)
        fields = _chosen_fields(list(self.dataset.field_types), self.pipelines, exclude_fields)
        verbose = verbose and self._ranks.rank == 0
        self._remote = _remote_of(remote_cache, remote_cache_endpoint_url)
        check_image_format(image_format)
        self.image_format = image_format
        overlap = overlap_build and image_format == "jpeg" and on_error in ("raise", "zero")
        self._open = partial(
            open_samples,
            self.dataset,
            remote=self._remote,
            presync=presync_s3,
            overlap=overlap and balance is None,
            verbose=verbose,
        )
        self.cache = self._open_cache()
        self._selection = selection_of(self.cache, self.order, self._ranks, arguments)
        self._num_batches = self._selection.num_batches()
        self.seed = agreed_seed(seed, self._ranks)
        self._telemetry = Telemetry(first_ids_of(self.cache))
        self._reading_options = reading_options(
            arguments, fields, self._selection.indices, self._remote, self._ranks.rank == 0
        )
        self._reading = open_reading(self.cache, self._reading_options, self._telemetry)
        on_gpu = device_of(self.pipelines)
        self._transfer = transfer_to(self.device or on_gpu)
        pinned = isinstance(self._transfer, CudaTransfer) if pin_memory is None else pin_memory
        self._buffers = batch_buffers(pinned and torch.cuda.is_available(), batches_ahead + 2)
        self._iterators: weakref.WeakSet[BatchIterator] = weakref.WeakSet()
        self._latest: EpochProgress | None = None
        self._next_epoch, self._next_position = 0, 0
        check_agreement(self._facts(), self._ranks)
        if on_gpu is not None:
            ids = np.arange(min(batch_size, len(self.cache)))
            context = BatchContext(ids, self.seed, buffers=self._buffers, num_threads=num_threads)
            agree_on_engines(self._reading.policy.make, self._transfer, context, self._ranks)

    def __len__(self) -> int:
        """Batches of a whole epoch on this rank, also while a resumed epoch has fewer left."""
        return self._num_batches

    def __iter__(self) -> BatchIterator:
        """Iterate over the next epoch, or over the rest of one that was resumed.

        Several epochs may be iterated at once.
        """
        iterator = BatchIterator(self)
        self._iterators.add(iterator)
        return iterator

    def _open_cache(self) -> SampleReader:
        """The cache; if its build begins here, it ends with this loader."""
        cache = self._open()
        if isinstance(cache, GrowingCache) and cache is not self.dataset.source:
            weakref.finalize(self, cache.stop)
        return cache

    def _start_epoch(self) -> tuple[EpochProgress, PrefetchIterator[Delivery]]:
        cache = self.cache
        if isinstance(cache, GrowingCache) and (cache.is_complete or cache.is_stopped):
            self.cache = cache.wait() if cache.is_complete else self._open_cache()
            self._reading = open_reading(self.cache, self._reading_options, self._telemetry)
        epoch, position = self._next_epoch, self._next_position
        plan = self._selection.plan(self.seed, epoch, position)
        num_threads = self.num_threads or default_num_threads()
        makers, threads_of_batch = division_of_threads(num_threads, self.batches_ahead)
        make = EpochBatches(
            plan=plan,
            policy=self._reading.policy,
            transfer=self._transfer,
            device=self.device,
            buffers=self._buffers,
            seed=self.seed,
            epoch=epoch,
            num_threads=threads_of_batch,
            has_padding=self._ranks.world_size > 1 and not self._selection.drop_last,
            read_ahead=self._reading.read_ahead,
        ).make
        self._latest = EpochProgress(plan, epoch)
        self._next_epoch, self._next_position = epoch + 1, 0
        batches = PrefetchIterator(make, len(plan), self.batches_ahead, makers, self._telemetry)
        return self._latest, batches

    @property
    def sampler(self) -> Any:
        """What trainers call ``set_epoch`` on: the sampler that was given, or the loader itself."""
        given = self._selection.sampler
        return self if given is None else given

    @property
    def batch_sampler(self) -> Any:
        """The batch sampler that was given, or None."""
        return self._selection.batch_sampler

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is; without it, epochs count up from 0.

        The epoch that was just resumed goes on where it was left; any other starts at its
        beginning.
        """
        epoch = operator.index(epoch)
        if epoch < 0:
            raise ValueError(f"epoch must not be negative, got {epoch}")
        if epoch != self._next_epoch:
            self._next_epoch, self._next_position = epoch, 0
        if self._latest is not None and self._latest.place()[0] != epoch:
            self._latest = None  # set again in the middle of that epoch, its place is kept

    def state_dict(self) -> dict[str, Any]:
        """Where the run is: after the batches that the latest iterator's ``next()`` returned.

        Returns
        -------
        dict
            Numbers and strings only. The same on every rank. It fits any number of ranks and any
            batch size, unless the order is ``contiguous``, node-local or a sampler's.
        """
        if self._latest is None:
            return self._state(self._next_epoch, self._next_position).as_dict()
        return self._state(*self._latest.place()).as_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a saved run was: the next iteration is the rest of its epoch.

        Nothing is read to get there. The saved seed replaces this loader's.

        Raises
        ------
        StateError
            If the state is of another data set, order or version.
        """
        saved = LoaderState.from_dict(state)
        saved.check_fits(self._state(0, 0), self._selection.is_elastic)
        self.seed = saved.seed
        self._next_epoch, self._next_position = saved.epoch, saved.samples
        self._latest = None

    def replay(self) -> Iterator[Batch]:
        """One batch again and again, as many times as an epoch has batches.

        A training loop over it runs as fast as the network allows: the difference to a real epoch
        is what data loading costs. The batch is shared: do not change it in place.
        """
        place = self._next_epoch, self._next_position, self._latest
        iterator = iter(self)
        try:
            batch = next(iterator, None)
        finally:
            iterator.close()
            self._next_epoch, self._next_position, self._latest = place
        if batch is not None:
            yield from repeat(batch, len(self))

    def stats(self) -> LoaderStats:
        """Where the time went since the start or the last ``reset_stats``, and a verdict."""
        return self._telemetry.snapshot()

    def reset_stats(self) -> None:
        """Count from zero."""
        self._telemetry.reset()

    def sync_remote_cache(self) -> tuple[int, int]:
        """Exchange with the remote cache what either side lacks.

        Call it after ``write_index`` and the like, to share what was made. Derived fields that
        come from there are used by loaders that are made afterwards.

        Returns
        -------
        tuple of int
            Additions downloaded, and files of the cache and additions uploaded.

        Raises
        ------
        LoaderError
            If the loader has no ``remote_cache``.
        S3Error, CacheWriteError
            If the remote cannot be reached or refuses, or the cache cannot be written here.
        """
        if self._remote is None:
            raise LoaderError("this loader shares nothing: make it with remote_cache='s3://...'")
        remote, caches = self._remote, self.cache.caches
        counts = [sync_cache(remote, cache) for cache in caches]
        return sum(down for down, _ in counts), sum(up for _, up in counts)

    def warmup_cache(self) -> list[WarmUp]:
        """Read the cache's files once, so that they are in memory as far as there is room.

        Returns
        -------
        list of WarmUp
            Bytes and seconds of each cache: one, but for views of several.
        """
        return [cache.warm_up() for cache in self.cache.caches]

    def shutdown(self) -> None:
        """End all iterations, and a build that overlaps them, and wait for their threads.

        The loader can be iterated again; a build then goes on after its complete parts.
        """
        for iterator in list(self._iterators):
            iterator.close()
        if isinstance(self.cache, GrowingCache) and self.cache is not self.dataset.source:
            self.cache.stop(wait=True)

    def _state(self, epoch: int, samples: int) -> LoaderState:
        return LoaderState(
            seed=self.seed,
            epoch=epoch,
            samples=samples,
            order=self._selection.describe(),
            num_samples=self._selection.num_samples,
            cache_key=self.cache.key,
            world_size=self._ranks.world_size,
        )

    def _facts(self) -> dict[str, Any]:
        """What ranks must agree on."""
        library = find_turbojpeg()
        return {
            "cache": self.cache.key,
            "batches in an epoch": len(self),
            "batch_size": self.batch_size,
            "image_format": self.image_format,
            "seed": self.seed,
            "order": self._selection.describe(),
            "JPEG engine": library.path if library else "pillow",
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickled loader is its class, its arguments, its seed and its place, no threads.

        A subclass is made again by ``SlipstreamLoader.__init__``: what its own adds is not kept.
        """
        return _rebuilt, (type(self), self.dataset, self._arguments, self.state_dict())

    def __repr__(self) -> str:
        return (
            f"SlipstreamLoader({len(self.cache):,} samples, batch_size={self.batch_size}, "
            f"{len(self):,} batches, order={self.order!r}, seed={self.seed}, "
            f"pipelines={list(self.pipelines)})"
        )


def _rebuilt(
    kind: type[SlipstreamLoader],
    dataset: SlipstreamDataset,
    arguments: dict[str, Any],
    state: dict[str, Any],
) -> SlipstreamLoader:
    loader = kind.__new__(kind)
    SlipstreamLoader.__init__(loader, dataset, **arguments)
    loader.load_state_dict(state)
    return loader


def _remote_of(given: str | RemoteCache | None, endpoint_url: str | None) -> RemoteCache | None:
    if given is None:
        if endpoint_url is not None:
            raise ValueError("remote_cache_endpoint_url without remote_cache has no meaning")
        return None
    return RemoteCache.of(given, endpoint_url)


def _check_positive(name: str, value: int | None) -> None:
    if name == "num_threads" and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")


def _check_contradictions(arguments: Mapping[str, Any], world_size: int) -> None:
    if arguments["on_error"] == "skip" and world_size > 1:
        raise ValueError(
            "on_error='skip' would give ranks unequal batches, and training would hang: use "
            "'replace' or 'zero'"
        )
    if arguments["presync_s3"] and arguments["overlap_build"]:
        raise ValueError(
            "presync_s3 copies the data set before the first epoch, overlap_build begins the "
            "epoch at once: choose one"
        )


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
