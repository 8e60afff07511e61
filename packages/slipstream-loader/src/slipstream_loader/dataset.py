"""``SlipstreamDataset``: one sample at a time from any source, and the place of its cache."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.utils.data
from PIL import Image

from slipstream_cache import (
    Codec,
    FieldSpec,
    SampleCache,
    SampleReader,
    Source,
    StorageOptions,
)
from slipstream_cache.field_types import select_fields
from slipstream_loader.errors import DatasetArgumentError, ImageDecodeError
from slipstream_loader.image_files import decode_image, image_tensor
from slipstream_loader.stored_source import StoredSource
from slipstream_loader.transcode import decode_stored

__all__ = ["SlipstreamDataset", "decode_image"]

SampleStage = Callable[[Any], Any]


class SlipstreamDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """Samples of a folder, a cache or a list, one at a time; `SlipstreamLoader` makes batches.

    Exactly one source is given: the first argument, or one of the three names, which differ in what
    they tell the reader only.

    Parameters
    ----------
    source : str, path, Source, SampleReader or sequence of dicts
        A folder of images (one folder for each class, or all together), a LitData data set or its
        URL, an archive of images, a slipcache directory, an open cache or a view (`subset`,
        `concatenate`), or another object; see
        `slipstream_loader.sources.open_source`.
    cache_dir : path, optional
        Directory that holds caches, each in a folder ``slipcache-<key>`` of its own. Default:
        ``$SLIPSTREAM_CACHE_DIR``, else ``~/.slipstream``.
    local_dir, input_dir, remote_dir : optional
        Other names of `source`.
    decode_images : bool
        Decode the image fields of ``dataset[i]``; otherwise they are ``bytes`` as stored.
    to_pil : bool
        What decoded images are: Pillow images of mode RGB, or else uint8 tensors (3, H, W).
    pipelines : mapping of str to callable or sequence of callables, optional
        Field name -> what is applied to its value in ``dataset[i]``, after decoding.
    storage_options : StorageOptions or mapping, optional
        How the cache stores the samples (``max_size``, ``quality``, ``codec``, ``fields``).
        Default: everything as it is. A source that is a cache is stored again if they are given.
        A mapping is another thing: how an object store is reached (``endpoint_url``, ...; see
        `slipstream_loader.sources.object_store.open_object_store`). For both, open the source
        yourself, such as ``LitDataSource(url, storage_options={...})``.
    profile : str, optional
        Of an object store: a profile of the AWS configuration, or ``"wasabi"``.
    expected_version : str, optional
        Of a LitData data set: the version that it should have; another one is an error.
    name : str, optional
        Names the content of an object that has no fingerprint, such as a map-style data set or a
        generator; choose another name when the content changes. Paths, URLs and sources take none.

    Raises
    ------
    DatasetArgumentError
        When there is no source, or more than one, or an argument does not fit it.
    SourceError
        When the source cannot be opened.
    FieldNotFoundError
        When `pipelines` or `storage_options` names a field that does not exist.

    Notes
    -----
    Nothing is built here. The data set can be pickled, and read from several threads.

    Examples
    --------
    >>> dataset = SlipstreamDataset("photos/train", decode_images=True)  # doctest: +SKIP
    >>> dataset[0]["image"].size, dataset[0]["label"]  # doctest: +SKIP
    ((500, 375), 0)
    """

    def __init__(
        self,
        source: Any = None,
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        local_dir: str | os.PathLike[str] | None = None,
        input_dir: str | os.PathLike[str] | None = None,
        remote_dir: str | os.PathLike[str] | None = None,
        decode_images: bool = False,
        to_pil: bool = True,
        pipelines: Mapping[str, SampleStage | Sequence[SampleStage]] | None = None,
        storage_options: StorageOptions | Mapping[str, Any] | None = None,
        profile: str | None = None,
        expected_version: str | None = None,
        name: str | None = None,
    ) -> None:
        if isinstance(storage_options, StorageOptions):
            stored, reached = storage_options, None
        else:
            stored, reached = None, storage_options
        if profile is not None:
            reached = {**(reached or {}), "profile": profile}
        self._stored = StoredSource.open(
            _only_source(
                source=source, local_dir=local_dir, input_dir=input_dir, remote_dir=remote_dir
            ),
            cache_dir,
            stored,
            access=reached,
            expected_version=expected_version,
            name=name,
        )
        self.source: Source | SampleReader = self._stored.source
        self.storage_options = self._stored.storage_options
        self.decode_images = decode_images
        self.to_pil = to_pil
        self._field_types = self._stored.field_types
        self._pipelines = _checked_pipelines(pipelines or {}, self._field_types)

    @property
    def cache_path(self) -> Path:
        """Directory of the cache, whether it exists or not.

        The source's fingerprint is computed here when it is first needed. A view has no directory:
        DatasetArgumentError.
        """
        return self._stored.cache_path

    @property
    def field_types(self) -> dict[str, FieldSpec]:
        """Field name -> how it is stored, in order."""
        return dict(self._field_types)

    @property
    def image_fields(self) -> list[str]:
        """Names of the image fields."""
        return [name for name, spec in self._field_types.items() if spec.kind == "image"]

    @property
    def classes(self) -> list[str]:
        """Names of the classes; AttributeError where the source has none."""
        classes: list[str] = self.source.classes  # type: ignore[union-attr]
        return classes

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Class name -> label; AttributeError where the source has none."""
        labels: dict[str, int] = self.source.class_to_idx  # type: ignore[union-attr]
        return labels

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read one sample from the source.

        Parameters
        ----------
        index : int
            Sample id; negative ones count from the end.

        Returns
        -------
        dict
            Field name -> value.

        Raises
        ------
        IndexError
            When there is no such sample.
        ImageDecodeError
            When an image is damaged; it names the sample.
        """
        sample_id = operator.index(index)
        num_samples = len(self)
        if not -num_samples <= sample_id < num_samples:
            raise IndexError(f"index {sample_id} is out of range: {num_samples} samples")
        sample_id %= num_samples
        whole = self.source[sample_id]
        sample = {name: whole[name] for name in self._field_types}
        if self.decode_images:
            for name in self.image_fields:
                sample[name] = self._decoded(name, sample_id, sample[name])
        for name, stages in self._pipelines.items():
            for stage in stages:
                sample[name] = stage(sample[name])
        return sample

    def __repr__(self) -> str:
        source = self.source
        lines = [f"SlipstreamDataset: {len(self):,} samples of {_name_of(source)}"]
        if getattr(source, "classes", None):
            lines.append(f"  {len(self.classes):,} classes")
        width = max(map(len, self._field_types))
        for name, spec in self._field_types.items():
            details = f" {spec.content or spec.dtype or ''}".rstrip()
            shape = f" {list(spec.shape)}" if spec.shape else ""
            lines.append(f"  {name:{width}}  {spec.kind}{details}{shape}")
        return "\n".join(lines)

    def _decoded(self, field: str, sample_id: int, data: bytes) -> Image.Image | torch.Tensor:
        source = self.source
        try:
            if isinstance(source, SampleReader):
                image = _decode_cached(source, field, sample_id, data)
            else:
                image = decode_image(data, to_pil=True)
        except ImageDecodeError as error:
            place = source.describe(sample_id) if isinstance(source, Source) else _name_of(source)
            where = f"field {field!r} of sample {sample_id} ({place})"
            raise ImageDecodeError(f"{where}: {error}") from error
        return image if self.to_pil else image_tensor(image)


def _only_source(**candidates: Any) -> Any:
    given = {name: value for name, value in candidates.items() if value is not None}
    if len(given) != 1:
        found = f"{' and '.join(given)} were given" if given else "none was given"
        raise DatasetArgumentError(
            "a data set needs exactly one source: the first argument, local_dir, input_dir or "
            f"remote_dir; {found}"
        )
    return next(iter(given.values()))


def _name_of(source: Source | SampleReader) -> str:
    if isinstance(source, SampleCache):
        return f"slipcache {source.cache_dir}"
    if isinstance(source, SampleReader):
        return f"a view ({type(source).__name__}) of {len(source.caches)} slipcaches"
    return f"{source.kind} {source.uri}"


def _checked_pipelines(
    pipelines: Mapping[str, SampleStage | Sequence[SampleStage]], fields: Mapping[str, FieldSpec]
) -> dict[str, list[SampleStage]]:
    select_fields(fields, tuple(pipelines))
    checked: dict[str, list[SampleStage]] = {}
    for name, stages in pipelines.items():
        checked[name] = [stages] if callable(stages) else list(stages)
        for stage in checked[name]:
            if not callable(stage):
                raise DatasetArgumentError(
                    f"pipelines[{name!r}] holds {stage!r}; expected a callable or a list of them"
                )
    return checked


def _decode_cached(cache: SampleReader, field: str, sample_id: int, data: bytes) -> Image.Image:
    headers = cache.payloads(field, [sample_id])
    codec = Codec(int(headers.codecs[0]))
    return decode_stored(data, codec, int(headers.heights[0]), int(headers.widths[0]))
