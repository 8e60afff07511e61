"""``sync_s3_dataset``: a copy of all objects below a URL in a directory of this machine."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

from slipstream_s3sync.checks import RemoteFile
from slipstream_s3sync.errors import S3Error, S3NotFoundError
from slipstream_s3sync.folder import S3Folder
from slipstream_s3sync.progress import byte_bar
from slipstream_s3sync.transfer import download

if sys.platform != "win32":
    import fcntl

_logger = logging.getLogger(__name__)

_DIRECTORY: Final = "s3-sync"
_RECORD: Final = ".slipstream-sync.json"
_CACHE_VARIABLE: Final = "SLIPSTREAM_CACHE_DIR"


def sync_s3_dataset(
    remote_dir: str,
    cache_dir: str | os.PathLike[str] | None = None,
    *,
    endpoint_url: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    numworkers: int = 32,
    verbose: bool = True,
) -> Path:
    """Copy all objects below a URL here; those that are here already are not copied again.

    Parameters
    ----------
    remote_dir : str
        ``s3://bucket/prefix``.
    cache_dir : path, optional
        Default: ``$SLIPSTREAM_CACHE_DIR``, else ``~/.slipstream``.
    endpoint_url : str, optional
        Of an S3-compatible service.
    storage_options : mapping, optional
        How the bucket is reached otherwise; see `Connection`.
    numworkers : int
        Objects at a time.
    verbose : bool
        Whether progress is shown (on a terminal or in a notebook only).

    Returns
    -------
    Path
        The directory; the same for the same URL, and one process at a time writes it. It holds the
        objects of this moment: files whose objects were deleted since an earlier call are deleted
        too.

    Raises
    ------
    S3NotFoundError
        There is nothing below the URL.
    S3Error
        A key cannot be a file's name here, or a transfer failed. What has arrived is kept, and the
        next call goes on after it.
    """
    options = dict(storage_options or {})
    if endpoint_url is not None:
        options["endpoint_url"] = endpoint_url
    folder = S3Folder(remote_dir, options)
    directory = _deterministic_local_dir(remote_dir, cache_dir)
    try:
        files = _listed(folder, directory)
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory):
            _bring(folder, files, directory, numworkers, verbose)
    finally:
        folder.close()
    return directory


def _bring(
    folder: S3Folder, files: list[RemoteFile], directory: Path, numworkers: int, verbose: bool
) -> None:
    """Make the directory hold these objects, and remember that it does."""
    known = _read_record(directory)
    present = {file.name for file in files}
    for name in set(known) - present:  # first, since a new object may become the same file
        with suppress(OSError):
            _place(directory, name).unlink()
    missing = [file for file in files if not _is_known(file, known.get(file.name))]
    if missing:
        with byte_bar(sum(f.size for f in missing), "downloading", verbose=verbose) as bar:
            incoming = directory.with_name(f"{directory.name}.incoming")
            download(folder, missing, incoming=incoming, workers=numworkers, progress=bar)
        if hasattr(os, "sync"):
            os.sync()  # one for all: the record says that the files are on the disk
    if missing or set(known) != present:
        _write_record(directory, files)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold ``<directory>.lock`` where the system can lock: one process copies, others wait."""
    with ExitStack() as stack:
        try:
            path = directory.with_name(f"{directory.name}.lock")
            file = stack.enter_context(path.open("ab"))
            if sys.platform != "win32":
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:  # such as a copy that somebody else has made, to be read only
            _logger.debug("copying to %s without a lock: %s", directory, error)
        yield


def _deterministic_local_dir(
    remote_dir: str, cache_dir: str | os.PathLike[str] | None = None
) -> Path:
    """Where the copy of a URL is: ``<cache_dir>/s3-sync/<last part of the URL>-<hash of it>``."""
    root = Path(cache_dir or os.environ.get(_CACHE_VARIABLE) or "~/.slipstream").expanduser()
    url = remote_dir.rstrip("/")
    last = "".join(c if c.isalnum() or c in "._-" else "_" for c in url.rpartition("/")[2])
    digest = hashlib.sha256(url.encode()).hexdigest()[:12]
    return root.absolute() / _DIRECTORY / f"{last}-{digest}"


def _listed(folder: S3Folder, directory: Path) -> list[RemoteFile]:
    """All objects with the files that they become."""
    files: dict[str, RemoteFile] = {}
    for found in folder.list():
        if found.name.endswith("/") and not found.size:  # what consoles make for empty folders
            continue
        path = _place(directory, found.name)
        other = files.setdefault(
            str(path), RemoteFile(found.name, path, found.size, etag=found.etag)
        )
        if other.name != found.name:
            raise S3Error(
                f"{folder.url_of(found.name)} and {other.name!r} would be the same file here: "
                "rename one of them"
            )
    if not files:
        raise S3NotFoundError(f"{folder.url}/: there are no objects below this URL")
    parents = {str(parent) for file in files.values() for parent in file.path.parents}
    for clash in parents & set(files):
        raise S3Error(
            f"{folder.url_of(files[clash].name)} is an object and also a folder of others, which "
            "no directory can hold: rename one of them"
        )
    return list(files.values())


def _place(directory: Path, name: str) -> Path:
    """The file of an object; names that lead elsewhere are refused."""
    parts = PurePosixPath(name).parts
    windows = os.name == "nt" and any(c in name for c in '\\:*?"<>|')
    if not parts or name.startswith("/") or ".." in parts or "\0" in name or windows:
        raise S3Error(f"the object {name!r} cannot be a file in {directory}: rename it")
    return directory.joinpath(*parts)


def _is_known(file: RemoteFile, known: Any) -> bool:
    """Whether a file was checked before and is still the same."""
    try:
        found = file.path.stat()
    except OSError:
        return False
    return bool(known == [file.etag, file.size, found.st_mtime_ns] and found.st_size == file.size)


def _read_record(directory: Path) -> dict[str, Any]:
    try:
        record = json.loads((directory / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(directory: Path, files: list[RemoteFile]) -> None:
    """Remember what was checked, so that the next call need not read all files."""
    record = {f.name: [f.etag, f.size, f.path.stat().st_mtime_ns] for f in files}
    temporary = directory / f"{_RECORD}.{os.getpid()}"
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(directory / _RECORD)
