"""The manifest of a cache: its data classes, its JSON form, and the strict reading of it.

A manifest may come from anywhere, so every name and number in it is checked before it is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from slipstream_cache.errors import (
    CacheNotFoundError,
    FieldNameError,
    FieldTypeError,
    ManifestError,
    UnsupportedVersionError,
)
from slipstream_cache.field_types import field_files, validate_fields
from slipstream_cache.layout import FORMAT_NAME, FORMAT_VERSION, JOURNAL_NAME, MANIFEST_NAME
from slipstream_cache.source import FieldSpec, StorageOptions

_PART_NAME: Final = re.compile(r"part-\d{5,}")
_HASH: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class FileInfo:
    """Size and hash of one file."""

    bytes: int
    xxh3: str
    """xxh3_64 of the whole file, 16 hexadecimal characters."""


@dataclass(frozen=True)
class ImageCounts:
    """How many images of a field in a part are not sound."""

    damaged: int
    unreadable: int


@dataclass(frozen=True)
class PartInfo:
    """One sealed part."""

    name: str
    first_sample: int
    num_samples: int
    files: Mapping[str, FileInfo]
    images: Mapping[str, ImageCounts] = field(default_factory=dict)
    """Image field to the counts of its images that are not sound."""

    @property
    def num_bytes(self) -> int:
        """Bytes of all its files together."""
        return sum(file.bytes for file in self.files.values())


@dataclass(frozen=True)
class SourceInfo:
    """Where the samples came from."""

    uri: str
    kind: str
    fingerprint: str


@dataclass(frozen=True)
class Manifest:
    """All that is known about a published cache without opening a part."""

    key: str
    num_samples: int
    source: SourceInfo
    options: StorageOptions
    fields: Mapping[str, FieldSpec]
    parts: tuple[PartInfo, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of all part files together."""
        return sum(part.num_bytes for part in self.parts)

    def to_json(self) -> str:
        """Return the text of ``manifest.json``: equal for equal manifests."""
        document = {
            "format": FORMAT_NAME,
            "version": FORMAT_VERSION,
            "key": self.key,
            "num_samples": self.num_samples,
            "source": asdict(self.source),
            "options": _options_to_json(self.options),
            "fields": fields_to_json(self.fields),
            "parts": [{"name": part.name, **part_to_json(part)} for part in self.parts],
        }
        return json_text(document)


def _options_to_json(options: StorageOptions) -> dict[str, Any]:
    """The options; those of a codec only where it is chosen."""
    return {
        "max_size": options.max_size,
        "quality": options.quality,
        "codec": options.codec,
        "fields": options.fields,
        **options.codec_details,
    }


def json_text(document: Mapping[str, Any]) -> str:
    """Return the text of a JSON file of ours: ASCII, so that any path in it can be written."""
    return json.dumps(document, indent=1) + "\n"


def part_name(number: int) -> str:
    """Return the directory name of part ``number``."""
    return f"part-{number:05d}"


def fields_to_json(fields: Mapping[str, FieldSpec]) -> dict[str, dict[str, Any]]:
    """Return the JSON form of the fields: only the keys that their kind has."""
    document: dict[str, dict[str, Any]] = {}
    for name, spec in fields.items():
        document[name] = {"kind": spec.kind}
        if spec.kind == "dense":
            document[name].update(dtype=spec.dtype, shape=list(spec.shape))
        elif spec.kind == "ragged":
            document[name].update(content=spec.content)
    return document


def part_to_json(part: PartInfo) -> dict[str, Any]:
    """Return the JSON form of a part without its name."""
    return {
        "first_sample": part.first_sample,
        "num_samples": part.num_samples,
        "files": {name: asdict(part.files[name]) for name in sorted(part.files)},
        "images": {name: asdict(counts) for name, counts in part.images.items()},
    }


def read_manifest(cache_dir: Path) -> Manifest:
    """Read and check the manifest of a published cache.

    Raises
    ------
    CacheNotFoundError
        The directory, or a manifest in it, does not exist.
    ManifestError
        The manifest is not a slipcache's, or contradicts itself.
    UnsupportedVersionError
        It has another format version.
    """
    path = cache_dir / MANIFEST_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        if not cache_dir.is_dir():
            state = "no such directory"
        elif (cache_dir / JOURNAL_NAME).exists():
            state = "an unfinished build"
        else:
            state = "a directory of something else"
        raise CacheNotFoundError(
            f"no published cache at {cache_dir}: {state} (no {MANIFEST_NAME}); "
            "build it with `slipstream build`"
        ) from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not UTF-8: {error}") from error
    return parse_manifest(text, path)


def parse_manifest(text: str, path: Path | str) -> Manifest:
    """Check the text of a manifest; ``path`` is for messages."""
    document = parse_json_object(text, path)
    if document.get("format") != FORMAT_NAME:
        is_original = "file_sizes" in document
        hint = " (of the original slipstream: `slipstream build` takes it)" if is_original else ""
        raise ManifestError(
            f"{path} is not the manifest of a slipcache{hint}: expected format {FORMAT_NAME!r}, "
            f"found {document.get('format')!r}"
        )
    if document.get("version") != FORMAT_VERSION:
        raise UnsupportedVersionError(
            f"{path}: format version {document.get('version')!r}; this package reads version "
            f"{FORMAT_VERSION}: build the cache again, or use the release that wrote it"
        )
    try:
        manifest = _from_json(document)
        _check(manifest)
    except KeyError as error:
        raise ManifestError(f"{path}: missing key {error}") from error
    except (TypeError, ValueError, AttributeError, FieldTypeError, FieldNameError) as error:
        raise ManifestError(f"{path}: {error}") from error
    return manifest


def parse_json_object(text: str, path: Path | str) -> dict[str, Any]:
    """Parse JSON text that must be an object; ``path`` is for messages.

    Raises
    ------
    ManifestError
        It is not JSON, or not an object.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ManifestError(f"{path}: expected a JSON object, found {type(document).__name__}")
    return document


def field_from_json(document: Mapping[str, Any]) -> FieldSpec:
    """Build a field's spec from its JSON form; raises as ``part_from_json`` does."""
    return FieldSpec(
        kind=document["kind"],
        dtype=document.get("dtype"),
        shape=tuple(map(count_from_json, document.get("shape", ()))),
        content=document.get("content"),
    )


def file_from_json(document: Mapping[str, Any]) -> FileInfo:
    """Build a file's size and hash from their JSON form; raises as ``part_from_json`` does."""
    return FileInfo(count_from_json(document["bytes"]), _hash(document["xxh3"]))


def part_from_json(name: str, document: Mapping[str, Any]) -> PartInfo:
    """Build a part from its JSON form; raises KeyError, TypeError, ValueError or AttributeError."""
    return PartInfo(
        name=name,
        first_sample=count_from_json(document["first_sample"]),
        num_samples=count_from_json(document["num_samples"]),
        files={file: file_from_json(info) for file, info in document["files"].items()},
        images={
            field: ImageCounts(
                count_from_json(counts["damaged"]), count_from_json(counts["unreadable"])
            )
            for field, counts in document["images"].items()
        },
    )


def check_part(part: PartInfo, fields: Mapping[str, FieldSpec]) -> None:
    """Raise ValueError unless the part has exactly the files of ``fields``."""
    expected = {file for name, spec in fields.items() for file in field_files(name, spec)}
    if set(part.files) != expected:
        wrong = sorted(set(part.files) ^ expected)
        raise ValueError(f"{part.name}: missing or unknown files {wrong}")
    images = [name for name, spec in fields.items() if spec.kind == "image"]
    if sorted(part.images) != sorted(images):
        raise ValueError(f"{part.name}: expected image counts of {images}")


_CODEC_DETAILS: Final = ("smart_threshold", "jpeg_proportion")


def _from_json(document: Mapping[str, Any]) -> Manifest:
    source, options = document["source"], document["options"]
    stored = options["fields"]
    return Manifest(
        key=_hash(document["key"]),
        num_samples=count_from_json(document["num_samples"]),
        source=SourceInfo(
            _text(source["uri"]), _text(source["kind"]), _text(source["fingerprint"])
        ),
        options=StorageOptions(
            max_size=options["max_size"],
            quality=options["quality"],
            codec=options["codec"],
            fields=None if stored is None else tuple(map(_text, stored)),
            **{name: options[name] for name in _CODEC_DETAILS if name in options},
        ),
        fields={name: field_from_json(spec) for name, spec in document["fields"].items()},
        parts=tuple(part_from_json(_text(part["name"]), part) for part in document["parts"]),
    )


def _check(manifest: Manifest) -> None:
    validate_fields(manifest.fields)
    names = [part.name for part in manifest.parts]
    if len(set(names)) != len(names) or not all(map(_PART_NAME.fullmatch, names)):
        raise ValueError("part names must be unique and look like part-00000")
    expected = 0
    for part in manifest.parts:
        check_part(part, manifest.fields)
        if part.first_sample != expected:
            raise ValueError(
                f"{part.name} begins at sample {part.first_sample}, expected {expected}"
            )
        expected += part.num_samples
    if expected != manifest.num_samples:
        raise ValueError(f"the parts have {expected} samples, expected {manifest.num_samples}")


def count_from_json(value: Any) -> int:
    """Return a number of things; raises ValueError unless it is one."""
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"{value!r} is not a count")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _hash(value: Any) -> str:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError(f"{value!r} is not a hash of 16 hexadecimal characters")
    return value
