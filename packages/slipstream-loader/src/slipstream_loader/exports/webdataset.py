"""Caches as shards of WebDataset."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np

from slipstream_cache import FieldSpec, SampleReader
from slipstream_loader.errors import ExportError
from slipstream_loader.exports.samples import ExportedImage, ExportedSamples
from slipstream_loader.exports.whole_file import new_folder, whole_file
from slipstream_loader.sample_runs import runs_of
from slipstream_loader.sources.webdataset_samples import member_type, split_name

_KEY: Final = "key"
_LABEL: Final = "label"
_MAX_MEMBER_BYTES: Final = 1 << 33
"""Where the sizes of plain tar headers end."""


def export_webdataset(
    cache: SampleReader | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    fields: Sequence[str] | None = None,
    shard_bytes: int = 1 << 30,
    verbose: bool = True,
) -> list[Path]:
    """Write shards that WebDataset reads.

    The field ``image``, or the only image field, is ``.jpg`` (the bytes of the cache) or ``.png``;
    integers named ``label`` are ``.cls``; other fields are named before their types:
    ``.caption.txt``, ``.boxes.json``, ``.score.npy``, ``.raw.bin``. A text field ``key`` names the
    samples, if it can; else they are numbered.

    Parameters
    ----------
    cache : SampleCache, view or path
    folder : path
        An empty folder, or one to be made. Shards are ``shard-000000.tar``...; each appears when
        it is complete.
    fields : sequence of str, optional
        The fields to write; default: all.
    shard_bytes : int
        A shard that has so many bytes of samples is followed by another one.
    verbose : bool
        Whether progress is shown (on a terminal or in a notebook only).

    Returns
    -------
    list of Path
        The shards.

    Raises
    ------
    ExportError
        The folder holds something, or an image is unreadable.
    """
    samples = ExportedSamples(cache, fields, verbose=verbose)
    target = new_folder(Path(folder).expanduser().absolute())
    named = samples.fields.get(_KEY, FieldSpec("image")).content == "str" and _are_keys(samples)
    names = [name for name in samples.fields if not (named and name == _KEY)]
    main_image = "image" if "image" in samples.image_fields else None
    if len(samples.image_fields) == 1:
        (main_image,) = samples.image_fields
    shards: list[Path] = []
    with ExitStack() as stack:
        archive, num_bytes = None, 0
        for number, sample in enumerate(samples):
            if archive is None or num_bytes >= shard_bytes:
                stack.close()
                shards.append(target / f"shard-{len(shards):06}.tar")
                file = stack.enter_context(whole_file(shards[-1]))
                archive = stack.enter_context(
                    tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
                )
                num_bytes = 0
            key = sample[_KEY] if named else f"{number:09}"
            for name in names:
                spec = samples.fields[name]
                extension, data = _member(name, spec, sample[name], name == main_image)
                archive.addfile(_header(f"{key}.{extension}", len(data)), io.BytesIO(data))
                num_bytes += len(data)
    return shards


def _header(name: str, size: int) -> tarfile.TarInfo:
    if size >= _MAX_MEMBER_BYTES:
        raise ExportError(f"{name} has {size} bytes, too many for a member of a tar archive")
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


def _member(name: str, spec: FieldSpec, value: Any, is_main: bool) -> tuple[str, bytes]:
    """Extension and bytes of a value."""
    if isinstance(value, ExportedImage):
        data, ending = value.file()
        return (ending if is_main else f"{name}.{ending}"), data
    if spec.kind == "dense":
        if name == _LABEL and not spec.shape and np.dtype(spec.dtype).kind in "iu":
            return "cls", str(int(value)).encode()
        file = io.BytesIO()
        np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)
        return _named(name, "npy"), file.getvalue()
    if spec.content == "str":
        return _named(name, "txt"), value.encode("utf-8", "surrogatepass")
    if spec.content == "json":
        return _named(name, "json"), json.dumps(value).encode()
    return _named(name, "bin"), value


def _named(name: str, ending: str) -> str:
    """The extension of a field, from which its name is read again."""
    return (
        name
        if member_type(name) == member_type(ending) and "." not in name
        else (f"{name}.{ending}")
    )


def _are_keys(samples: ExportedSamples) -> bool:
    """Whether the texts of the field ``key`` can name the samples."""
    seen: set[str] = set()
    for key in _keys(samples):
        parts = split_name(f"{key}.x")
        is_safe = not key.startswith("/") and ".." not in key.split("/") and "\0" not in key
        if parts != (key, "x") or not is_safe or key in seen:
            return False
        seen.add(key)
    return True


def _keys(samples: ExportedSamples) -> Iterator[str]:
    for ids in runs_of(len(samples)):
        yield from samples.cache.load_batch(ids, [_KEY])[_KEY]
