"""Data sets of one kind each: ``SlipstreamDataset`` under a name that says what it holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.errors import DatasetArgumentError, SourceError
from slipstream_loader.sources.huggingface import (
    HubTables,
    HuggingFaceSource,
    is_hub_url,
    is_hugging_face,
)
from slipstream_loader.sources.imagefolder import ImageFolderSource
from slipstream_loader.sources.parquet import TableSource
from slipstream_loader.sources.tar import TarSource


class SlipstreamImageFolder(SlipstreamDataset):
    """A folder of images, one folder for each class, or a tar archive of one.

    Parameters
    ----------
    root : str or path
        The folder; or the archive, also at a URL.
    **options
        As for `SlipstreamDataset`.

    Raises
    ------
    SourceError
        When it is another kind of source.
    """

    def __init__(self, root: str | os.PathLike[str], **options: Any) -> None:
        super().__init__(root, **options)
        if not isinstance(self.source, (ImageFolderSource, TarSource)):
            raise SourceError(f"{self.source!r} is no folder of images")

    @property
    def root(self) -> str:
        """Where the images are."""
        assert isinstance(self.source, (ImageFolderSource, TarSource))
        return self.source.uri

    @property
    def targets(self) -> list[int]:
        """The label of each sample; empty where there are no classes."""
        assert isinstance(self.source, (ImageFolderSource, TarSource))
        return self.source.labels.tolist() if self.source.classes else []


class SlipstreamHFDataset(SlipstreamDataset):
    """A data set of Hugging Face.

    Parameters
    ----------
    source : str, path or datasets.Dataset
        ``hf://datasets/owner/name``, parquet or Arrow files, or an open data set of one split.
    split : str
        Which files of the Hub are taken; see ``HubTables``.
    **options
        As for `SlipstreamDataset`.

    Raises
    ------
    SourceError
        When it is another kind of source.
    """

    def __init__(self, source: Any, *, split: str = "train", **options: Any) -> None:
        if isinstance(source, str) and is_hub_url(source):
            source = TableSource(HubTables(source, split))
        elif split != "train":
            raise DatasetArgumentError("split= is for hf:// URLs; an open data set is of one split")
        super().__init__(source, **options)
        is_known = isinstance(self.source, (TableSource, HuggingFaceSource))
        if not is_known and not is_hugging_face(source):
            raise SourceError(f"{self.source!r} is no data set of Hugging Face")


def open_imagefolder(
    source: str | os.PathLike[str],
    cache_dir: str | os.PathLike[str] | None = None,
    s3_config: Mapping[str, Any] | None = None,
    **options: Any,
) -> SlipstreamImageFolder:
    """Open a folder of images, or a tar archive of one, which is never unpacked.

    Parameters
    ----------
    source : str or path
        A folder, an archive, or its URL (``s3://``, ``https://``).
    cache_dir : path, optional
        As for `SlipstreamDataset`.
    s3_config : mapping, optional
        How an ``s3://`` URL is reached: ``endpoint_url``...; see ``open_object_store``.
    **options
        As for `SlipstreamDataset`.
    """
    if s3_config is not None:
        options["storage_options"] = s3_config
    return SlipstreamImageFolder(source, cache_dir=cache_dir, **options)
