"""The cache's payloads as decoders take them."""

from __future__ import annotations

from slipstream_cache import Blobs, Payloads
from slipstream_decoders import EncodedBatch


def encoded(payloads: Payloads, points: Blobs | None = None) -> EncodedBatch:
    """The payloads of a batch as an ``EncodedBatch``; nothing is copied.

    Parameters
    ----------
    payloads : Payloads
    points : Blobs, optional
        Seek points of the same samples.
    """
    return EncodedBatch(
        addresses=payloads.addresses,
        sizes=payloads.sizes,
        heights=payloads.heights,
        widths=payloads.widths,
        codecs=payloads.codecs,
        orientations=payloads.orientations,
        owner=(payloads, points),
        seek_addresses=None if points is None else points.addresses,
        seek_sizes=None if points is None else points.sizes,
    )
