"""What a builder accepts: the ``Source`` protocol, and the kinds of fields that its samples have.

The concrete sources (folders, tar files, Hugging Face...) live in slipstream-loader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from slipstream_cache.layout import Codec, Condition

FieldKind = Literal["dense", "ragged", "image"]
RaggedContent = Literal["bytes", "str", "json"]


@dataclass(frozen=True)
class FieldSpec:
    """How one field is stored, and what reading it gives back."""

    kind: FieldKind
    """``dense``: one .npy; ``ragged``: payloads of varying length; ``image``: encoded images."""
    dtype: str | None = None
    """Dense only: NumPy dtype string with byte order, such as ``"<i8"``."""
    shape: tuple[int, ...] = ()
    """Dense only: shape of one sample's value."""
    content: RaggedContent | None = None
    """Ragged only: what the payload holds."""


@runtime_checkable
class Source(Protocol):
    """Indexable samples with a stable order and a name for their content.

    ``source[i]`` must be safe to call from several threads at once. It returns a new mapping of
    field name to value: an image as ``bytes`` of an image file; numbers, NumPy scalars and arrays;
    ``bytes``, ``str``; lists, dicts and None as JSON values.

    A source that is read forward, such as a compressed archive, says so by an attribute
    ``is_sequential`` that is true: builders then read no sample far ahead of the others. Sources
    of one fingerprint must agree on it, wherever they are read: it decides where parts end.

    A source that knows how large its samples are may say so by an attribute ``mean_sample_bytes``,
    from its content alone: builders then read no samples to plan the parts. One that knows the size
    of each may have a method ``sample_bytes(index)``: builders then know before they read a sample
    whether memory is meant for it and for those that other threads read.

    A source that holds something while it is read, such as downloads, connections or decoded
    blocks, may have a method ``close``: a build calls it at its end, and each worker of an
    executor on its copy. Reading afterwards must work and take hold of these again.
    """

    @property
    def uri(self) -> str:
        """Where the samples come from, for people (a path or URL without credentials)."""

    @property
    def kind(self) -> str:
        """Kind of source, such as ``"imagefolder"``."""

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of every sample, in order."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...

    def fingerprint(self) -> str:
        """Hexadecimal hash of the content; equal for equal data at another path or another day."""

    def describe(self, index: int, /) -> str:
        """Name sample ``index`` for a message, such as its path inside the source."""


def is_sequential(source: Source) -> bool:
    """Tell whether the samples of a source are best read in their order."""
    return bool(getattr(source, "is_sequential", False))


def mean_sample_bytes(source: Source) -> int | None:
    """Return about how many bytes a sample has, if the source tells that without reading."""
    mean: int | None = getattr(source, "mean_sample_bytes", None)
    return mean


def sample_bytes(source: Source, index: int) -> int | None:
    """Return about how many bytes one sample has, if the source tells that without reading."""
    tell = getattr(source, "sample_bytes", None)
    num_bytes: int | None = None if tell is None else tell(index)
    return num_bytes


def release(source: Source) -> None:
    """Let a source let go of what it holds to be read."""
    close = getattr(source, "close", None)
    if close is not None:
        close()


@dataclass(frozen=True)
class StorageOptions:
    """The options that decide what a cache holds, and so, with the fingerprint, its key."""

    max_size: int | None = None
    """Longer side in pixels above which images are shrunk and stored again; None: never."""
    quality: int = 100
    """JPEG quality of images that are stored again (4:4:4)."""
    codec: Literal["jpeg", "yuv420", "rgb", "smart", "proportion"] = "jpeg"
    """Codec of images that are stored again. ``smart``: ``jpeg`` for those with more bytes of
    pixels than ``smart_threshold``, else ``rgb``, which takes more space and no decoding.
    ``proportion``: ``jpeg`` for a part of them, chosen by the hash of the image, else ``rgb``."""
    fields: tuple[str, ...] | None = None
    """The fields to store; None stores all."""
    smart_threshold: int = 256 * 256 * 3
    """Of codec ``smart``: bytes of pixels, 3 x height x width, up to which pixels are stored."""
    jpeg_proportion: float = 0.5
    """Of codec ``proportion``: the part of the images that is stored as JPEG, 0 to 1."""

    @property
    def codec_details(self) -> dict[str, int | float]:
        """What else decides about the codec; empty for one that needs nothing."""
        if self.codec == "smart":
            return {"smart_threshold": self.smart_threshold}
        return {"jpeg_proportion": self.jpeg_proportion} if self.codec == "proportion" else {}


@dataclass(frozen=True)
class StoredImage:
    """An image in the form in which it is stored."""

    payload: bytes
    height: int
    """Pixels, as stored (before EXIF orientation)."""
    width: int
    codec: Codec
    orientation: int = 0
    condition: Condition = Condition.SOUND
    flags: int = 0
    """Bits of ``ImageFlag``."""
    problem: str | None = None
    """Why the condition is not SOUND, for the build's report."""


Transcode = Callable[[bytes, StorageOptions], StoredImage]
"""Turns the bytes of an image file that is not a plain JPEG into what is stored; it never raises
for bad image data but returns condition DAMAGED or UNREADABLE with the bytes unchanged."""
