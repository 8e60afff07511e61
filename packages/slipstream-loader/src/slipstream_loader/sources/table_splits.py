"""Which files of a data set belong to which split, told by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from slipstream_loader.errors import SourceError

_SPLITS: Final = ("train", "validation", "val", "dev", "test")


def split_of(name: str) -> str | None:
    """The split that a file's name or folder tells, such as ``data/train-00000-of-00003.parquet``.

    The last word that is a split's name counts.
    """
    words = re.split(r"[^a-zA-Z0-9]+", name.lower())
    found = [word for word in words if word in _SPLITS]
    return found[-1] if found else None


def files_of_split(names: Sequence[str], split: str | None, where: str) -> list[str]:
    """Choose the files of one split.

    Parameters
    ----------
    names : sequence of str
        All files, with forward slashes.
    split : str, optional
        Files that tell another split, or none where some do, are left out; None: there must be no
        choice.
    where : str
        The data set, for messages.

    Raises
    ------
    SourceError
        There is no such split, or a choice of several; or there are several configurations
        (folders).
    """
    splits = {name: split_of(name) for name in names}
    known = sorted({found for found in splits.values() if found})
    if split is None and len(known) > 1:
        raise SourceError(f"{where} has several splits, {', '.join(known)}: name a file or folder")
    if split is not None and known and split not in known:
        raise SourceError(f"{where} has no split {split!r}; it has {', '.join(known)}")
    untold = [name for name, found in splits.items() if found is None]
    if split is None and known and untold:
        raise SourceError(
            f"{where} has files of the split {known[0]}, and {len(untold)} that tell no split, "
            f"such as {untold[0]}: name a file or folder"
        )
    chosen = [name for name in names if not known or splits[name] == (split or known[0])]
    folders = sorted({_configuration(name) for name in chosen})
    if len(folders) > 1:
        raise SourceError(
            f"{where} has several configurations, {', '.join(folders)}: name one folder of it"
        )
    return chosen


def _configuration(name: str) -> str:
    """The folder of a file, without a last part that names a split."""
    parts = name.split("/")[:-1]
    if parts and split_of(parts[-1]):
        parts = parts[:-1]
    return "/".join(parts)
