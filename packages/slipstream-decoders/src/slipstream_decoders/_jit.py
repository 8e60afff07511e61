"""The only door to numba: ``kernel`` compiles a function and keeps the machine code on disk.

numba notices an edit of the file that holds a kernel, but not of the files whose functions it
inlines. So the machine code lives in a directory named after everything that it depends on: all
kernel sources, numba's and llvmlite's versions, and the processor. slipstream-cache and
slipstream-decoders each have this same file: two copies are cheaper than a package between them.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite
import numba
from llvmlite import binding

_Function = TypeVar("_Function", bound=Callable[..., Any])
_DIRECTORY_VARIABLE = "SLIPSTREAM_KERNEL_CACHE"
_lock = threading.Lock()
_config: Any = numba.config


def _user_cache_directory() -> Path:
    """The platform's directory for files that can be made again."""
    if _DIRECTORY_VARIABLE in os.environ:
        return Path(os.environ[_DIRECTORY_VARIABLE]).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))


def _digest() -> str:
    """Hash of what the machine code depends on."""
    package = Path(__file__).parent
    hasher = hashlib.sha256()
    for path in [Path(__file__), *sorted((package / "_kernels").rglob("*.py"))]:
        hasher.update(path.relative_to(package).as_posix().encode())
        hasher.update(path.read_bytes())
    features = _config.CPU_FEATURES or binding.get_host_cpu_features().flatten()
    processor = _config.CPU_NAME or binding.get_host_cpu_name()
    for text in (numba.__version__, llvmlite.__version__, processor, features):
        hasher.update(f"\0{text}".encode())
    return hasher.hexdigest()[:16]


def _usable_directory() -> Path:
    """A writable directory for the machine code; a private temporary one as the last resort."""
    name = f"{Path(__file__).parent.name}-{_digest()}"
    directory = _user_cache_directory() / "slipstream-kernels" / name
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return directory
    except OSError:
        return Path(tempfile.mkdtemp(prefix="slipstream-kernels-"))


_directory = _usable_directory()


def kernel(function: _Function) -> _Function:
    """Compile a function for nopython mode without the GIL, cached on disk.

    Parameters
    ----------
    function : callable
        Takes arrays and scalars and returns scalars; it must check its own bounds.

    Returns
    -------
    callable
        The compiled function. It is compiled, or loaded from disk, at its first call.
    """
    with _lock:
        before = _config.CACHE_DIR
        _config.CACHE_DIR = str(_directory)
        try:
            compiled = numba.njit(
                nogil=True,
                boundscheck=False,
                error_model="numpy",
                cache=True,
            )(function)
        finally:
            _config.CACHE_DIR = before
    return cast(_Function, compiled)
