"""Downloads by boto3: large objects in pieces at the same time, and on from where they broke off.

The pieces of a large object are recorded: of which object they are and which are complete, so that
the next attempt, in this process or another, fetches the others only.
"""

from __future__ import annotations

import errno
import json
import logging
import random
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import BinaryIO, Final

from slipstream_s3sync.checks import RemoteFile
from slipstream_s3sync.connection import boto3_parts
from slipstream_s3sync.errors import IntegrityError, S3ConnectionError
from slipstream_s3sync.folder import S3Folder
from slipstream_s3sync.incoming import Incoming

_logger = logging.getLogger(__name__)

PIECE_BYTES: Final = 8 << 20
_BLOCK_BYTES: Final = 1 << 20
_ATTEMPTS: Final = 5
_FIRST_PAUSE: Final = 0.2
_MAX_PAUSE: Final = 8.0
_LOCAL_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG)
"""Of writing here: trying again does not help."""


class StoppedError(Exception):
    """Another transfer failed, or the user has interrupted; nobody sees this one."""


class RangedReader:
    """Downloads objects of a folder in pieces.

    Parameters
    ----------
    folder : S3Folder
    incoming : Incoming
        Where they go. It is open.
    threads : int
        Pieces at a time, of all objects together.
    """

    def __init__(self, folder: S3Folder, incoming: Incoming, threads: int) -> None:
        self._folder, self._incoming = folder, incoming
        self._pool = ThreadPoolExecutor(threads, "slipstream-s3-piece")
        self._stop = threading.Event()

    def fetch(self, file: RemoteFile) -> Path:
        """Download an object; returns where it is, complete but not checked.

        Raises
        ------
        IntegrityError
            The object has another size.
        S3Error
            It cannot be read.
        """
        if file.size <= PIECE_BYTES:
            path = self._incoming.path_for(file.path)
            with path.open("wb") as target:
                self._fetch_range(file, target, 0, file.size, None)
            return path
        found = self._folder.head(file.name)
        if int(found["ContentLength"]) != file.size:
            raise self._wrong_size(file, int(found["ContentLength"]))
        partial = self._incoming.partial_for(file.path)
        record = self._incoming.record_for(file.path)
        journal = _Journal(partial, record, str(found["ETag"]), file.size)
        try:
            futures = [
                self._pool.submit(self._fetch_piece, file, journal, number)
                for number in journal.missing()
            ]
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:  # nothing is left to cancel unless one of them failed
                future.cancel()
            wait(futures)
            for future in futures:
                if not future.cancelled():
                    future.result()
            if any(future.cancelled() for future in futures):
                raise StoppedError
        finally:
            journal.close()
        return partial

    def stop(self) -> None:
        """End all downloads at their next block; what is complete stays."""
        self._stop.set()
        self._pool.shutdown(wait=True)  # without cancelling: who waits for a piece has to be told

    def _fetch_piece(self, file: RemoteFile, journal: _Journal, number: int) -> None:
        if self._stop.is_set():
            raise StoppedError
        begin = number * PIECE_BYTES
        end = min(begin + PIECE_BYTES, file.size)
        with journal.partial.open("r+b") as target:
            target.seek(begin)
            self._fetch_range(file, target, begin, end, journal.etag)
        journal.add(number)

    def _fetch_range(
        self, file: RemoteFile, target: BinaryIO, begin: int, end: int, etag: str | None
    ) -> None:
        """Write a range of an object to a file that stands where it belongs."""
        position, failures = begin, 0
        while position < end:
            reached, problem = self._copy_body(file, target, position, end, etag)
            failures = 0 if reached > position else failures + 1
            position = reached
            if position < end:
                self._pause(file, position, failures, problem)

    def _copy_body(
        self, file: RemoteFile, target: BinaryIO, begin: int, end: int, etag: str | None
    ) -> tuple[int, Exception | None]:
        """Copy as much of a range as comes; returns where that ended, and why."""
        request = {"Bucket": self._folder.bucket, "Key": self._folder.key_of(file.name)}
        if etag is not None:
            request["IfMatch"] = etag
        if begin or end < file.size:
            request["Range"] = f"bytes={begin}-{end - 1}"
        try:
            with self._folder.connection.explained(self._folder.url_of(file.name)):
                answer = self._folder.connection.client.get_object(**request)
        except S3ConnectionError as error:
            return begin, error
        position = begin
        try:
            with answer["Body"] as body:
                if "Range" not in request and int(answer["ContentLength"]) != file.size:
                    raise self._wrong_size(file, int(answer["ContentLength"]))
                while position < end and (block := body.read(_BLOCK_BYTES)):
                    if self._stop.is_set():
                        raise StoppedError
                    target.write(block[: end - position])
                    position = min(position + len(block), end)
        except (OSError, boto3_parts().exceptions.BotoCoreError) as error:
            if isinstance(error, IntegrityError) or getattr(error, "errno", 0) in _LOCAL_ERRORS:
                raise
            return position, error
        return position, None

    def _wrong_size(self, file: RemoteFile, found: int) -> IntegrityError:
        return IntegrityError(
            f"{self._folder.url_of(file.name)}: expected {file.size} bytes, found {found}"
        )

    def _pause(
        self, file: RemoteFile, position: int, failures: int, problem: Exception | None
    ) -> None:
        url = self._folder.url_of(file.name)
        if failures >= _ATTEMPTS:
            if isinstance(problem, S3ConnectionError):
                raise problem
            raise S3ConnectionError(
                f"{url}: the connection to {self._folder.connection.endpoint} broke off "
                f"{failures} times at byte {position}; check the network and try again: what has "
                f"arrived is kept ({problem or 'the connection was closed'})"
            ) from problem
        _logger.debug("%s broke off at byte %d: %s", url, position, problem)
        pause = min(_FIRST_PAUSE * 2**failures, _MAX_PAUSE) * random.uniform(0.5, 1.5)
        if self._stop.wait(pause):
            raise StoppedError


class _Journal:
    """A partial file and the record of its complete pieces."""

    def __init__(self, partial: Path, record: Path, etag: str, size: int) -> None:
        self.etag = etag
        self._count = -(-size // PIECE_BYTES)
        self._lock = threading.Lock()
        header = json.dumps({"etag": etag, "size": size, "piece": PIECE_BYTES})
        known = _completed(record, header, self._count) if partial.exists() else None
        self._done = known or set()
        if known is None:
            record.unlink(missing_ok=True)
            record.write_text(header + "\n", encoding="utf-8")
            with partial.open("wb") as file:
                file.truncate(size)
        self.partial = partial
        self._record = record.open("a", encoding="utf-8")

    def missing(self) -> list[int]:
        """Numbers of the pieces to fetch."""
        return [number for number in range(self._count) if number not in self._done]

    def add(self, number: int) -> None:
        """Note that a piece is complete."""
        with self._lock:
            self._record.write(f"{number}\n")
            self._record.flush()

    def close(self) -> None:
        """Close the record."""
        self._record.close()


def _completed(record: Path, header: str, count: int) -> set[int] | None:
    """The complete pieces; None if the record is not of this object."""
    try:
        lines = record.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        return None
    if lines[0] != header:
        return None
    numbers = {int(line) for line in lines[1:-1] if line.isdigit()}
    return {number for number in numbers if number < count}
