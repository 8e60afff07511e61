"""``SlipstreamLitDataset``: a data set that LitData has written."""

from __future__ import annotations

import os
from typing import Any

from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.errors import SourceError
from slipstream_loader.sources.litdata import LitDataSource


class SlipstreamLitDataset(SlipstreamDataset):
    """A `SlipstreamDataset` of LitData chunks, in a directory or below a URL.

    Parameters
    ----------
    source : str or path
        Where ``index.json`` is.
    **options
        As for `SlipstreamDataset`; the source may also be named by one of its other names.

    Raises
    ------
    SourceError
        When it is another kind of source.

    Examples
    --------
    >>> data = SlipstreamLitDataset("s3://bucket/train", profile="wasabi")  # doctest: +SKIP
    >>> data.version  # doctest: +SKIP
    '1795335191.6588843'
    """

    def __init__(self, source: str | os.PathLike[str] | None = None, **options: Any) -> None:
        super().__init__(source, **options)
        if not isinstance(self.source, LitDataSource):
            raise SourceError(f"{self.source!r} is no LitData data set")

    @property
    def version(self) -> str | None:
        """When the data set was written last, as its index says it; None if it does not."""
        assert isinstance(self.source, LitDataSource)
        return self.source.version
