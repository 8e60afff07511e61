"""Caches as plain folders of images, one folder for each class."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from slipstream_cache import FieldSpec, SampleReader
from slipstream_loader.errors import ExportError
from slipstream_loader.exports.samples import ExportedSamples
from slipstream_loader.exports.whole_file import new_folder, whole_file
from slipstream_loader.sample_runs import runs_of

METADATA_NAME: Final = "metadata.jsonl"
_BAD_CHARACTERS: Final = frozenset('\0\\:*?"<>|')


def export_folder(
    cache: SampleReader | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    fields: Sequence[str] | None = None,
    verbose: bool = True,
) -> Path:
    """Write the images as files, and all other fields into ``metadata.jsonl`` beside them.

    Files keep the names that the text field ``path`` gives them, if all of those are safe and
    different, and folders of classes in it agree with ``label``. Else they are numbered, in folders
    of their labels.

    Parameters
    ----------
    cache : SampleCache, view or path
    folder : path
        An empty folder, or one to be made.
    fields : sequence of str, optional
        The fields to write, with one image field; default: all.
    verbose : bool
        Whether progress is shown (on a terminal or in a notebook only).

    Returns
    -------
    Path
        The list of files, which ``SlipstreamDataset`` opens with all fields. The folder itself is
        one that ``ImageFolder`` opens.

    Raises
    ------
    ExportError
        The folder holds something; there is not one image field; an image is unreadable; or a field
        holds bytes, times or complex numbers, which JSON does not.
    """
    samples = ExportedSamples(cache, fields, verbose=verbose)
    if len(samples.image_fields) != 1:
        raise ExportError(
            f"a folder holds one image field, the samples have {samples.image_fields}: choose with "
            "fields="
        )
    (image,) = samples.image_fields
    for name, spec in samples.fields.items():
        if not _fits_json(spec):
            raise ExportError(
                f"field {name!r} holds {spec.content or spec.dtype}, which JSON does not: leave it "
                "out"
            )
    target = new_folder(Path(folder).expanduser().absolute())
    names = _names(samples)
    with whole_file(target / METADATA_NAME) as metadata:
        for name, sample in zip(names, samples, strict=True):
            data, ending = sample.pop(image).file()
            file_name = f"{name}{'' if _has_ending(name, ending) else f'.{ending}'}"
            path = target / file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(data)
            row = {"file_name": file_name, **{n: _as_json(v) for n, v in sample.items()}}
            metadata.write(json.dumps(row, ensure_ascii=True).encode() + b"\n")
    return target / METADATA_NAME


def _has_ending(name: str, ending: str) -> bool:
    endings = (".jpg", ".jpeg") if ending == "jpg" else (f".{ending}",)
    return name.lower().endswith(endings)


def _names(samples: ExportedSamples) -> list[str]:
    paths = list(_column(samples, "path")) if _is_text(samples, "path") else []
    labels = [int(label) for label in _column(samples, "label")] if _is_number(samples) else None
    if paths and _are_safe(paths) and (labels is None or _agree(paths, labels)):
        return paths
    width = len(str(len(samples)))
    numbered = [f"{number:0{width}}" for number in range(len(samples))]
    if labels is None:
        return numbered
    label_width = len(str(max(labels, default=0)))
    return [f"{label:0{label_width}}/{name}" for label, name in zip(labels, numbered, strict=True)]


def _is_text(samples: ExportedSamples, name: str) -> bool:
    return name in samples.fields and samples.fields[name].content == "str"


def _is_number(samples: ExportedSamples) -> bool:
    spec = samples.fields.get("label")
    return (
        spec is not None
        and spec.kind == "dense"
        and not spec.shape
        and np.dtype(spec.dtype).kind in "iu"
    )


def _column(samples: ExportedSamples, name: str) -> Iterator[Any]:
    for ids in runs_of(len(samples)):
        yield from samples.cache.load_batch(ids, [name])[name]


def _are_safe(paths: list[str]) -> bool:
    """Whether paths stay in the folder on every system, and no two are one file or its folder."""
    stems = {os.path.splitext(path)[0].casefold() for path in paths}
    if len(stems) != len(paths):
        return False
    folders = {parent for path in paths for parent in _parents(path.casefold())}
    for path in paths:
        parts = path.split("/")
        if (
            _BAD_CHARACTERS & set(path)
            or any(part in ("", ".", "..") or part != part.strip(" ") for part in parts)
            or any(len(os.fsencode(part)) > 240 or part.endswith(".") for part in parts)
            or path.casefold() in folders
            or not path.isprintable()
            or path.casefold() == METADATA_NAME
        ):
            return False
    return True


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _agree(paths: list[str], labels: list[int]) -> bool:
    """Whether the labels are the positions of the class folders, in the order of their names."""
    tops = [path.partition("/")[0] if "/" in path else "" for path in paths]
    pairs = sorted(set(zip(tops, labels, strict=True)))
    one_each = len({top for top, _ in pairs}) == len(pairs)
    return one_each and [label for _, label in pairs] == list(range(len(pairs)))


def _fits_json(spec: FieldSpec) -> bool:
    if spec.kind == "dense":
        return np.dtype(spec.dtype).kind in "biuf"
    return spec.content != "bytes"


def _as_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value
