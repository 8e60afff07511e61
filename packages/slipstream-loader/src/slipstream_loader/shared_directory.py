"""Caches and credentials that all users of a cluster share."""

from __future__ import annotations

import os
from pathlib import Path

from slipstream_cache import default_cache_root
from slipstream_loader.errors import LoaderError


def get_default_cache_dir() -> Path:
    """The directory that holds all caches: ``$SLIPSTREAM_CACHE_DIR``, else ``~/.slipstream``."""
    return default_cache_root()


def link_shared_directory(
    shared: str | os.PathLike[str], link: str | os.PathLike[str] = "~/.slipstream"
) -> Path:
    """Make a directory of one user a link to one that all users share, as ``ln -s`` does.

    Safe to call by every user and every process, as often as they like.

    Parameters
    ----------
    shared : path
        The shared directory; it is made if its parent exists.
    link : path
        What becomes a link: the caches' directory, or one of credentials such as ``~/.aws``.

    Returns
    -------
    Path
        The shared directory.

    Raises
    ------
    LoaderError
        Something else is in the place of the link already; it is not touched.
    OSError
        The directory or the link cannot be made.
    """
    target = Path(shared).expanduser().absolute()
    place = Path(link).expanduser().absolute()
    target.mkdir(exist_ok=True)
    try:
        place.symlink_to(target, target_is_directory=True)
    except FileExistsError:
        if not place.exists() or not place.samefile(target):
            what = f"a link to {os.readlink(place)}" if place.is_symlink() else "something else"
            raise LoaderError(
                f"{place} is {what} already, and was not changed; move it away to link it to "
                f"{target}, or set SLIPSTREAM_CACHE_DIR"
            ) from None
    return target
