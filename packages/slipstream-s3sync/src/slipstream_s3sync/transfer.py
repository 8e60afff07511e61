"""Downloads and uploads of named objects: as fast as s5cmd, and each one checked.

s5cmd copies what it can. Whatever it did not bring, or brought wrongly, is copied again by boto3,
whose failures say what happened; where s5cmd is not installed, boto3 does all of it. A file gets
its name when its bytes are right: nobody sees half of one, nor anything beside it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from slipstream_s3sync.checks import (
    UPLOAD_PART_BYTES,
    RemoteFile,
    problem_with,
    tells_bytes,
    uploaded_etag,
)
from slipstream_s3sync.connection import boto3_parts
from slipstream_s3sync.errors import (
    IntegrityError,
    S3AccessError,
    S3ConnectionError,
    S3Error,
    TransferError,
)
from slipstream_s3sync.folder import S3Folder
from slipstream_s3sync.incoming import Incoming
from slipstream_s3sync.ranged import RangedReader
from slipstream_s3sync.s5cmd import Copy, copy_all, find_s5cmd

_logger = logging.getLogger(__name__)

DEFAULT_WORKERS: Final = 16
_CHECKERS: Final = 4
_TRIES: Final = 2
"""How often boto3 copies an object whose bytes arrive wrong."""
_INCOMING: Final = ".incoming"
_NAMED: Final = 5

Progress = Callable[[int], None]
"""Called with a number of bytes whenever so many more are done, from any thread."""


def download(
    folder: S3Folder,
    files: Iterable[RemoteFile],
    *,
    incoming: Path | None = None,
    workers: int = DEFAULT_WORKERS,
    durable: bool = False,
    progress: Progress | None = None,
) -> int:
    """Bring objects here; files that are there already and right are left as they are.

    Parameters
    ----------
    folder : S3Folder
        Where the objects are.
    files : iterable of RemoteFile
        Which, where to, and what they must hold. Directories are made.
    incoming : Path, optional
        Directory, on the file system of the files, where they are until they are right; it is
        removed when all are. Default: ``.incoming`` in the directory that holds them all.
    workers : int
        Objects at a time.
    durable : bool
        Sync each file before it gets its name, so that it survives a loss of power.
    progress : callable, optional
        Bytes that are there and right.

    Returns
    -------
    int
        Objects that were copied.

    Raises
    ------
    S3AccessError, S3ConnectionError
        The service refuses or does not answer. What has arrived is kept, and the next attempt
        goes on after it.
    IntegrityError
        One object has other bytes than expected, twice.
    TransferError
        This happened to several objects, or some are missing. All others are there.
    """
    files = list(files)
    if not files:
        return 0
    if incoming is None:
        common = os.path.commonpath([file.path.parent.absolute() for file in files])
        incoming = Path(common, _INCOMING)
    run = _Downloads(folder, Incoming(incoming), workers, durable, progress or _nothing)
    return run.all(files)


def upload(
    folder: S3Folder,
    files: Iterable[RemoteFile],
    *,
    workers: int = DEFAULT_WORKERS,
    progress: Progress | None = None,
) -> int:
    """Bring files into the bucket; objects that are there already and right are left as they are.

    Parameters
    ----------
    folder : S3Folder
        Where the objects go.
    files : iterable of RemoteFile
        The files. Their size is compared first: a file that changed is not uploaded.
    workers : int
        Objects at a time.
    progress : callable, optional
        Bytes that are there and right.

    Returns
    -------
    int
        Objects that were copied.

    Raises
    ------
    S3AccessError, S3ConnectionError, IntegrityError, TransferError
        As `download`.
    FileNotFoundError
        There is no such file.
    """
    run = _Uploads(folder, workers, progress or _nothing)
    return run.all(list(files))


class _Downloads:
    """One call of ``download``."""

    def __init__(
        self, folder: S3Folder, incoming: Incoming, workers: int, durable: bool, progress: Progress
    ) -> None:
        self._folder, self._incoming, self._workers = folder, incoming, workers
        self._durable, self._progress = durable, progress

    def all(self, files: list[RemoteFile]) -> int:
        """Copy what is missing."""
        for directory in {file.path.parent for file in files}:
            directory.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_CHECKERS, "slipstream-s3-check") as checkers:
            there = self._those_there(files, checkers)
        wanted = [file for file in files if file not in there]
        if wanted:
            with self._incoming:
                left = self._by_s5cmd(wanted)
                if left:
                    self._by_boto3(left)
        self._incoming.remove()
        return len(wanted)

    def _those_there(
        self, files: list[RemoteFile], checkers: ThreadPoolExecutor
    ) -> set[RemoteFile]:
        """The files that have come before, and are right."""
        present = [file for file in files if file.path.exists()]
        found = checkers.map(self._is_there, present)
        return {file for file, right in zip(present, found, strict=True) if right}

    def _is_there(self, file: RemoteFile) -> bool:
        try:
            right = problem_with(file.path, file) is None
        except FileNotFoundError:
            return False
        if right:
            self._progress(file.size)
        return right

    def _by_s5cmd(self, files: list[RemoteFile]) -> list[RemoteFile]:
        """Copy by s5cmd; returns what it has not brought."""
        binary = find_s5cmd()
        if binary is None:
            return files
        by_url = {
            self._folder.url_of(file.name): file
            for file in files
            if not self._incoming.partial_for(file.path).exists()  # boto3 goes on with these
        }
        copies = [Copy(url, str(self._incoming.path_for(f.path))) for url, f in by_url.items()]
        possible = [copy for copy in copies if copy.is_possible]
        if not possible:
            return files
        checks: list[tuple[RemoteFile, Future[bool]]] = []
        with ThreadPoolExecutor(_CHECKERS, "slipstream-s3-check") as checkers:
            done = copy_all(binary, self._folder.connection, possible, workers=self._workers)
            with _closing(done):
                for url in done:
                    checks.append((by_url[url], checkers.submit(self._take, by_url[url])))
        right = {file for file, check in checks if check.result()}
        return [file for file in files if file not in right]

    def _take(self, file: RemoteFile) -> bool:
        """Check what s5cmd has brought."""
        path = self._incoming.path_for(file.path)
        try:
            problem = problem_with(path, file)
            if problem is None:
                self._finish(path, file)
                return True
            path.unlink()
        except FileNotFoundError:  # another process has copied the same
            return self._is_there(file)
        _logger.debug("%s: %s", self._folder.url_of(file.name), problem)
        return False

    def _by_boto3(self, files: list[RemoteFile]) -> None:
        reader = RangedReader(self._folder, self._incoming, self._workers)
        try:
            with _Errands(self._workers, reader.stop) as errands:
                errands.run(self._folder, files, lambda file: self._fetch(reader, file))
        finally:
            reader.stop()

    def _fetch(self, reader: RangedReader, file: RemoteFile) -> None:
        for _ in range(_TRIES):
            try:
                partial = reader.fetch(file)
                problem = problem_with(partial, file)
                if problem is None:
                    self._finish(partial, file)
                    return
            except FileNotFoundError as error:  # another process has copied the same
                if self._is_there(file):
                    return
                problem = str(error)
            self._incoming.remove_partial(file.path)
        if file.xxh3 is None and _has_secret_etag(self._folder, file):
            partial = reader.fetch(file)
            self._finish(partial, file)
            return
        raise IntegrityError(
            f"{self._folder.url_of(file.name)} does not hold what it should: {problem}; it was "
            "damaged or replaced in the bucket"
        )

    def _finish(self, path: Path, file: RemoteFile) -> None:
        """Give a file that is right its name."""
        if self._durable:
            _sync(path)
        path.replace(file.path)
        self._progress(file.size)


class _Uploads:
    """One call of ``upload``."""

    def __init__(self, folder: S3Folder, workers: int, progress: Progress) -> None:
        self._folder, self._workers, self._progress = folder, workers, progress

    def all(self, files: list[RemoteFile]) -> int:
        """Copy what is missing."""
        for file in files:
            size = file.path.stat().st_size
            if size != file.size:
                raise IntegrityError(f"{file.path}: expected {file.size} bytes, found {size}")
        wanted = self._wrong(files)
        for file in wanted:
            problem = problem_with(file.path, file)
            if problem is not None:
                raise IntegrityError(f"{file.path}: {problem}; it is damaged and is not uploaded")
        left = self._by_s5cmd(wanted)
        if left:
            with _Errands(self._workers, None) as errands:
                errands.run(self._folder, left, self._send)
        return len(wanted)

    def _wrong(self, files: Sequence[RemoteFile]) -> list[RemoteFile]:
        """The files whose objects are missing or other."""
        wrong: list[RemoteFile] = []

        def look(file: RemoteFile) -> None:
            if self._problem(file) is None:
                self._progress(file.size)
            else:
                wrong.append(file)

        with _Errands(self._workers, None) as errands:
            errands.run(self._folder, files, look)
        return sorted(wrong, key=lambda file: file.name)

    def _problem(self, file: RemoteFile) -> str | None:
        found = self._folder.stat(file.name)
        if found is None:
            return "it is not there"
        if found.size != file.size:
            return f"expected {file.size} bytes, found {found.size}"
        if found.etag in uploaded_etag(file.path, file.size):
            return None
        if not tells_bytes(found.etag) or _has_secret_etag(self._folder, file):
            return None
        return f"it has the ETag {found.etag}, which is of other bytes"

    def _by_s5cmd(self, files: list[RemoteFile]) -> list[RemoteFile]:
        """Copy by s5cmd; returns what has not arrived."""
        binary = find_s5cmd()
        by_path = {str(file.path): file for file in files}
        copies = [Copy(path, self._folder.url_of(f.name)) for path, f in by_path.items()]
        possible = [copy for copy in copies if copy.is_possible]
        if binary is None or not possible:
            return files
        copied: list[RemoteFile] = []
        done = copy_all(binary, self._folder.connection, possible, workers=self._workers)
        with _closing(done):
            copied += (by_path[path] for path in done)
        right = set(copied).difference(self._wrong(copied))
        return [file for file in files if file not in right]

    def _send(self, file: RemoteFile) -> None:
        problem: str | None = None
        for _ in range(_TRIES):
            self._put(file)
            problem = self._problem(file)
            if problem is None:
                self._progress(file.size)
                return
        raise IntegrityError(f"{self._folder.url_of(file.name)} after its upload: {problem}")

    def _put(self, file: RemoteFile) -> None:
        from boto3.exceptions import S3UploadFailedError
        from boto3.s3.transfer import TransferConfig

        config = TransferConfig(
            multipart_threshold=UPLOAD_PART_BYTES, multipart_chunksize=UPLOAD_PART_BYTES
        )
        client, key = self._folder.connection.client, self._folder.key_of(file.name)
        with self._folder.connection.explained(self._folder.url_of(file.name)):
            try:
                client.upload_file(str(file.path), self._folder.bucket, key, Config=config)
            except S3UploadFailedError as error:
                if isinstance(error.__context__, boto3_parts().exceptions.ClientError):
                    raise error.__context__ from error
                raise S3Error(f"{self._folder.url_of(file.name)}: {error}") from error


class _Errands:
    """The same work for many objects, some at a time; what fails for all of them ends it."""

    def __init__(self, workers: int, stop: Callable[[], None] | None) -> None:
        self._pool = ThreadPoolExecutor(workers, "slipstream-s3")
        self._stop = stop

    def __enter__(self) -> _Errands:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(
        self, folder: S3Folder, files: Sequence[RemoteFile], work: Callable[[RemoteFile], None]
    ) -> None:
        """Do it for all files, and raise one error for those that failed."""
        futures = [(self._pool.submit(work, file), file) for file in files]
        failed: dict[str, S3Error] = {}
        try:
            for future, file in futures:
                try:
                    future.result()
                except (S3AccessError, S3ConnectionError):
                    raise
                except S3Error as error:
                    failed[folder.url_of(file.name)] = error
        except BaseException:
            for future, _ in futures:
                future.cancel()
            if self._stop is not None:
                self._stop()
            raise
        if len(failed) == 1:
            raise next(iter(failed.values()))
        if failed:
            lines = [f"  {error}" for error in list(failed.values())[:_NAMED]]
            more = [f"  ... and {len(failed) - _NAMED} more"] if len(failed) > _NAMED else []
            raise TransferError(
                "\n".join([f"{len(failed)} of {len(files)} objects failed:", *lines, *more]),
                {url: str(error) for url, error in failed.items()},
            )


@contextmanager
def _closing(iterator: Iterator[str]) -> Iterator[None]:
    try:
        yield
    finally:
        iterator.close()  # type: ignore[attr-defined]


def _has_secret_etag(folder: S3Folder, file: RemoteFile) -> bool:
    """Whether the object is encrypted with a key, so that its ETag is no MD5."""
    head = folder.head(file.name)
    encryption = str(head.get("ServerSideEncryption", ""))
    return encryption.startswith("aws:") or "SSECustomerAlgorithm" in head


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _nothing(_: int) -> None:
    """Show no progress."""
