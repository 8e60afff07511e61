"""Names and arguments of other loaders and readers, for code that is written against them.

``FastStreamingDataLoader`` takes the arguments of ``torch.utils.data.DataLoader``;
``StreamingDataset`` those of a streaming data set whose decoders belong to the data set;
``FFCVFileReader`` those of a reader of FFCV's files.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from slipstream_decoders import StageLike
from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.errors import DatasetArgumentError, SourceError
from slipstream_loader.lit_dataset import SlipstreamLitDataset
from slipstream_loader.loader import SlipstreamLoader
from slipstream_loader.sources.beton import BetonSource, is_beton

_logger = logging.getLogger(__name__)

_WITHOUT_EFFECT = (
    "persistent_workers",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
    "pin_memory_device",
    "in_order",
)
_told: set[str] = set()


StreamingReader = SlipstreamLitDataset
"""Samples of a LitData data set as they are stored."""


class FFCVFileReader(SlipstreamDataset):
    """Samples of a file that FFCV has written; FFCV itself is not needed.

    Parameters
    ----------
    ffcv_path : str or path
        The file, of any name: a path, or a URL ``s3://``, ``http://``, ``https://``.
    cache_dir : path, optional
        Directory that holds caches.
    image_field, label_field : str
        Names of fields that the file should have.
    verbose : bool
        Whether the log tells (at level INFO) what was opened.
    **options
        As for ``SlipstreamDataset``.

    Raises
    ------
    SourceError
        It is no such file, or it has no such image field; a file without labels is served.
    """

    def __init__(
        self,
        ffcv_path: str | os.PathLike[str],
        cache_dir: str | os.PathLike[str] | None = None,
        image_field: str = "image",
        label_field: str = "label",
        verbose: bool = True,
        **options: Any,
    ) -> None:
        is_known = is_beton(os.fspath(ffcv_path))  # the options tell how its URL is reached
        source = ffcv_path if is_known else BetonSource(ffcv_path)
        super().__init__(source, cache_dir=cache_dir, **options)
        self.image_field, self.label_field = image_field, label_field
        if not isinstance(self.source, BetonSource):
            raise SourceError(f"{self.source!r} is no file of FFCV")
        if image_field not in self.field_types:
            raise SourceError(
                f"{self.source.uri} has no field {image_field!r}; it has {list(self.field_types)}"
            )
        if verbose:
            _logger.info("%r", self.source)


class StreamingDataset(SlipstreamDataset):
    """A data set that says how its images are decoded for training.

    Parameters
    ----------
    source : str, path or object, optional
        As for ``SlipstreamDataset``.
    s3_dir : str, optional
        Another name of the source.
    sample_pipelines : mapping, optional
        Field -> decoding stages, as instances or as classes with their defaults. They are applied
        by ``FastStreamingDataLoader``, not by ``dataset[i]``.
    **options
        As for ``SlipstreamDataset``.
    """

    def __init__(
        self,
        source: Any = None,
        *,
        s3_dir: str | None = None,
        sample_pipelines: Mapping[str, StageLike | type | Sequence[StageLike | type]] | None = None,
        **options: Any,
    ) -> None:
        if source is not None and s3_dir is not None:
            raise DatasetArgumentError("give one source: the first argument or s3_dir")
        super().__init__(source if s3_dir is None else s3_dir, **options)
        self.sample_pipelines = {
            field: _instances(stages) for field, stages in (sample_pipelines or {}).items()
        }


class FastStreamingDataLoader(SlipstreamLoader):
    """``SlipstreamLoader`` with the arguments and defaults of torch's ``DataLoader``.

    Parameters
    ----------
    dataset : SlipstreamDataset, or anything it takes as its source
    batch_size : int
    shuffle : bool
    sampler, batch_sampler, drop_last
        As for ``DataLoader``.
    num_workers : int
        Decoding threads; 0: as many as the process may use. No worker process is started.
    pin_memory : bool
        Whether images are decoded into page-locked memory, where there is a GPU.
    prefetch_factor : int, optional
        Batches made ahead.
    generator : torch.Generator, optional
        Its initial seed is the loader's seed.
    collate_fn : None
        Batches are not collated from samples: use ``after_batch_transforms``.
    batch_pipelines : mapping, optional
        Field -> stages for whole batches, after the data set's ``sample_pipelines``.
    **options
        Other arguments of ``SlipstreamLoader``. Those of ``DataLoader`` that only concern its
        worker processes (``persistent_workers``, ``timeout``...) are accepted without effect.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        *,
        prefetch_factor: int | None = None,
        generator: torch.Generator | None = None,
        batch_pipelines: Mapping[str, StageLike | Sequence[StageLike]] | None = None,
        **options: Any,
    ) -> None:
        if collate_fn is not None:
            raise ValueError(
                "collate_fn: batches are not collated from samples; change whole batches with "
                "after_batch_transforms"
            )
        ignored = [name for name in _WITHOUT_EFFECT if options.pop(name, None)]
        new = [name for name in ignored if name not in _told]
        if new:
            _told.update(new)
            _logger.warning("%s: without effect, there are no worker processes", ", ".join(new))
        if generator is not None:
            options.setdefault("seed", generator.initial_seed())
        super().__init__(
            dataset,
            batch_size,
            pipelines=_joined(dataset, options.pop("pipelines", None), batch_pipelines),
            shuffle=shuffle,
            sampler=sampler,
            batch_sampler=batch_sampler,
            num_threads=num_workers or None,
            pin_memory=pin_memory,
            drop_last=drop_last,
            batches_ahead=prefetch_factor or 3,
            **options,
        )


FastLoader = FastStreamingDataLoader
"""``FastStreamingDataLoader`` by its older name."""


def _joined(
    dataset: Any,
    pipelines: Mapping[str, StageLike | Sequence[StageLike]] | None,
    batch_pipelines: Mapping[str, StageLike | Sequence[StageLike]] | None,
) -> dict[str, list[StageLike]]:
    """The stages of each field: the data set's, then the loader's."""
    joined: dict[str, list[StageLike]] = {}
    for source in (getattr(dataset, "sample_pipelines", None), pipelines, batch_pipelines):
        for field, stages in (source or {}).items():
            joined.setdefault(field, []).extend(_instances(stages))
    return joined


def _instances(stages: StageLike | type | Sequence[StageLike | type]) -> list[StageLike]:
    sequence = stages if isinstance(stages, Sequence) else [stages]
    return [stage() if isinstance(stage, type) else stage for stage in sequence]
