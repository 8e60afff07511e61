"""The only door to numba: ``kernel`` compiles a function and keeps the machine code on disk.

numba notices an edit of the file that holds a kernel, but not of the files whose functions it
inlines. So the machine code lives in a directory named after everything that it depends on: all
kernel sources, numba's and llvmlite's versions, and the processor. slipstream-cache and
slipstream-decoders each have this same file: two copies are cheaper than a package between them.
Kernels of a package that builds on one of the two come through its door, and may call its kernels.

Of many processes that start at once on an empty directory, one compiles and the others wait for
what it writes. That only saves work: without the lock each would compile for itself.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

import llvmlite
import numba
from llvmlite import binding

_Function = TypeVar("_Function", bound=Callable[..., Any])
_DIRECTORY_VARIABLE = "SLIPSTREAM_KERNEL_CACHE"
_PATIENCE = 300.0  # seconds after which a process compiles for itself
_POLL = 0.05
_PACKAGE = Path(__file__).parent
_lock = threading.Lock()
_config: Any = numba.config


def _user_cache_directory() -> Path:
    """The platform's directory for files that can be made again.

    Raises
    ------
    RuntimeError
        If there is no home directory, where one is needed.
    """
    if _DIRECTORY_VARIABLE in os.environ:
        return Path(os.environ[_DIRECTORY_VARIABLE]).expanduser()
    variable = {"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_CACHE_HOME")
    if variable in os.environ:
        return Path(os.environ[variable])
    caches = {"win32": "AppData/Local", "darwin": "Library/Caches"}.get(sys.platform, ".cache")
    return Path.home() / caches


def _package_of(function: Callable[..., Any]) -> Path:
    """The folder of the package whose ``_kernels`` hold a function; else the one of this file."""
    folders = Path(function.__code__.co_filename).parents
    return next((each.parent for each in folders if each.name == "_kernels"), _PACKAGE)


def _digest(package: Path) -> str:
    """Hash of what the machine code of a package's kernels depends on."""
    hasher = hashlib.sha256()
    for folder in dict.fromkeys((_PACKAGE, package)):
        for path in sorted((folder / "_kernels").rglob("*.py")):
            hasher.update(path.relative_to(folder).as_posix().encode())
            hasher.update(path.read_bytes())
    processor = _config.CPU_NAME or binding.get_host_cpu_name()
    features = _config.CPU_FEATURES or binding.get_host_cpu_features().flatten()
    door = Path(__file__).read_text("utf-8")
    for text in (door, numba.__version__, llvmlite.__version__, processor, features):
        hasher.update(f"\0{text}".encode())
    return hasher.hexdigest()[:16]


@cache
def _usable_directory(package: Path) -> Path:
    """A writable directory for the machine code; a temporary one as the last resort."""
    name = f"{package.name}-{_digest(package)}"
    try:
        directory = _user_cache_directory() / "slipstream-kernels" / name
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return directory
    except (OSError, RuntimeError):  # RuntimeError: there is no home directory
        return _temporary_directory(name)


def _temporary_directory(name: str) -> Path:
    """A directory that all processes of this user share and nobody else may write to."""
    if hasattr(os, "getuid"):
        shared = Path(tempfile.gettempdir()) / f"slipstream-kernels-{os.getuid()}"
        try:
            shared.mkdir(mode=0o700, exist_ok=True)
            found = shared.lstat()  # somebody else may have been first
            is_private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
            if is_private and found.st_uid == os.getuid():
                (shared / name).mkdir(exist_ok=True)
                with tempfile.TemporaryFile(dir=shared / name):
                    return shared / name
        except OSError:
            pass
    return Path(tempfile.mkdtemp(prefix="slipstream-kernels-"))


class _Turn(threading.local):
    """One process compiles at a time, for as long as the others are patient."""

    depth = 0  # kernels compile the kernels that they call
    descriptor: int | None = None

    def take(self) -> None:
        """Wait for the lock; without it when that lasts too long or there are no locks."""
        if fcntl is None or self.descriptor is not None or self.depth == 0:
            return
        end = time.monotonic() + _PATIENCE
        try:
            path = _usable_directory(_PACKAGE) / "compiling.lock"
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            while time.monotonic() < end:
                try:
                    fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except (BlockingIOError, PermissionError):  # both mean that another has it
                    time.sleep(_POLL)
        except OSError:  # some network file systems have no locks
            return

    def give(self) -> None:
        """Let others compile."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


_turn = _Turn()


def _take_turns(compiled: Any) -> None:
    """Let a dispatcher wait for a process that compiles, and look on disk again after that."""
    load, compile_signature = compiled._cache.load_overload, compiled.compile

    def load_overload(signature: Any, target: Any) -> Any:
        found = load(signature, target)
        if found is None:
            _turn.take()
            found = load(signature, target)
        return found

    def compile_in_turn(signature: Any) -> Any:
        _turn.depth += 1
        try:
            return compile_signature(signature)
        finally:
            _turn.depth -= 1
            if _turn.depth == 0:
                _turn.give()

    compiled._cache.load_overload = load_overload
    compiled.compile = compile_in_turn


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
        _config.CACHE_DIR = str(_usable_directory(_package_of(function)))
        try:
            compiled: Any = numba.njit(
                nogil=True,
                boundscheck=False,
                error_model="numpy",
                cache=True,
            )(function)
        finally:
            _config.CACHE_DIR = before
    _take_turns(compiled)
    return cast(_Function, compiled)
