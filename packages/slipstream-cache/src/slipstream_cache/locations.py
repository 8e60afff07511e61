"""Where caches lie, and the key that names them. The only module that reads the environment."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Final

from slipstream_cache.source import StorageOptions

_CODECS: Final = ("jpeg", "yuv420", "rgb", "smart", "proportion")
_ROOT_VARIABLE: Final = "SLIPSTREAM_CACHE_DIR"


def default_cache_root() -> Path:
    """Return the directory that holds all caches.

    Returns
    -------
    Path
        ``$SLIPSTREAM_CACHE_DIR`` if set and not empty, else ``~/.slipstream``; absolute, with
        symbolic links resolved. It need not exist.
    """
    chosen = os.environ.get(_ROOT_VARIABLE)
    return Path(chosen or "~/.slipstream").expanduser().resolve()


def cache_key(fingerprint: str, options: StorageOptions) -> str:
    """Return the key of a cache: what it holds, and nothing else.

    Parameters
    ----------
    fingerprint : str
        Hash of the source's content (``Source.fingerprint()``).
    options : StorageOptions
        How it is stored. The order of ``options.fields`` does not count.

    Returns
    -------
    str
        16 hexadecimal characters; the cache's directory is named ``slipcache-<key>``.

    Raises
    ------
    ValueError
        An option is out of range.
    """
    if options.max_size is not None and options.max_size < 1:
        raise ValueError(f"max_size is {options.max_size}; expected at least 1 pixel, or None")
    if not 1 <= options.quality <= 100:
        raise ValueError(f"quality is {options.quality}; expected 1 to 100")
    if options.codec not in _CODECS:
        raise ValueError(f"codec is {options.codec!r}; expected one of {', '.join(_CODECS)}")
    if options.smart_threshold < 0:
        raise ValueError(f"smart_threshold is {options.smart_threshold}; expected bytes, 0 or more")
    if not 0 <= options.jpeg_proportion <= 1:
        raise ValueError(f"jpeg_proportion is {options.jpeg_proportion}; expected 0 to 1")
    recipe = {
        "fingerprint": fingerprint,
        "max_size": options.max_size,
        "quality": options.quality,
        "codec": options.codec,
        "fields": None if options.fields is None else sorted(options.fields),
        **options.codec_details,
    }
    text = json.dumps(recipe, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
