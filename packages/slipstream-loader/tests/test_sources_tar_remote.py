"""Archives on S3 and on web servers."""

from __future__ import annotations

import base64
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.errors import (
    RemoteAccessError,
    RemoteError,
    RemoteNotFoundError,
    SourceError,
)
from slipstream_loader.sources import TarSource, forward_file, kept_file, open_source, tar_members
from slipstream_loader.sources.stored_file import HttpFile, ObjectFile


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of a few kilobytes, and no waiting between attempts."""
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "caches"))
    monkeypatch.setattr(forward_file, "_REMOTE_BLOCK_BYTES", 10_000)
    monkeypatch.setattr(tar_members, "_BLOCK_BYTES", 20_000)
    monkeypatch.setattr("slipstream_loader.sources.stored_file.time.sleep", lambda seconds: None)


def contents() -> dict[str, bytes]:
    random = np.random.default_rng(3)
    return {f"c{i % 3}/{i:02}.jpg": random.bytes(3000 + 10 * i) for i in range(40)}


def archive(mode: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:
        for name, data in contents().items():
            info = tarfile.TarInfo(f"train/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def check(source: TarSource) -> None:
    """All samples are there, in any order."""
    for index in [*range(len(source)), 30, 2, 17]:
        sample = source[index]
        assert sample["image"] == contents()[sample["path"]]
        assert sample["label"] == int(sample["path"][1])
    assert len(source) == 40


class Server(ThreadingHTTPServer):
    """Serves ``files`` with ranges and ETags; ``faults`` are taken one by one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.etag: str | None = '"1"'
        self.faults: list[str] = []
        self.answers_ranges = True
        self.num_requests = 0
        self.users: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.num_requests += 1
        server.users.append(self.headers["Authorization"])
        data = server.files.get(self.path.split("?")[0])
        fault = server.faults.pop(0) if server.faults else ""
        if data is None or fault.isdigit():
            self.send_error(int(fault) if fault else 404)
            return
        begin, _, end = self.headers["Range"].removeprefix("bytes=").partition("-")
        body = data[int(begin) : int(end) + 1]
        self.send_response(206 if server.answers_ranges else 200)
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Range", f"bytes {begin}-{end}/{len(data)}")
        self.send_header("Content-Length", str(len(body)))
        if fault == "cut":
            self.send_header("Connection", "close")
            self.close_connection = True
            body = body[:10]
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Be quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A web server for the test."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def url(server: Server, name: str) -> str:
    return f"http://127.0.0.1:{server.server_port}/{name}"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_archives_on_a_web_server(server: Server, mode: Any) -> None:
    """All samples come over HTTP; the listing is not made twice."""
    server.files["/a.tar"] = archive(mode)
    source = open_source(url(server, "a.tar?token=secret"))
    assert isinstance(source, TarSource)
    check(source)
    assert "secret" not in source.uri + repr(source)
    before = server.num_requests
    TarSource(url(server, "a.tar"))
    assert server.num_requests - before <= 2


def test_an_etag_belongs_to_its_url(server: Server) -> None:
    """Servers make ETags of times and sizes: two archives with equal ones are not one."""
    for name in ("train", "val"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            info = tarfile.TarInfo(f"{name}-class/1.jpg")
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
        server.files[f"/{name}.tar"] = file.getvalue()
    assert len(set(map(len, server.files.values()))) == 1
    train, val = (TarSource(url(server, f"{name}.tar")) for name in ("train", "val"))
    assert train.fingerprint() != val.fingerprint()
    assert (train[0]["image"], val[0]["image"]) == (b"train", b"val")
    again = TarSource(url(server, "train.tar?token=other"))
    assert again.fingerprint() == train.fingerprint()


def test_a_user_in_a_url(server: Server) -> None:
    """The server gets user and password; no message and no name has them."""
    server.files["/a.tar"] = archive("w")
    place = f"127.0.0.1:{server.server_port}/a.tar"
    source = TarSource(f"http://me:se%20cret@{place}")
    check(source)
    assert source.uri == f"http://{place}"
    assert set(server.users) == {"Basic " + base64.b64encode(b"me:se cret").decode()}
    before = server.num_requests
    with pytest.raises(SourceError, match=r"http://localhost:x/a b.tar is no URL") as failure:
        TarSource("http://me:secret@localhost:x/a b.tar?key=secret")
    assert "secret" not in str(failure.value)
    assert failure.value.__suppress_context__  # which holds the query
    assert server.num_requests == before


def test_empty_ranges_are_not_asked_for(server: Server) -> None:
    """An empty file of an archive is one."""
    server.files["/a.tar"] = archive("w")
    file = HttpFile(url(server, "a.tar"))
    before = server.num_requests
    assert (file.read(5, 5), file.read(0, 0), server.num_requests) == (b"", b"", before)


def test_faults_of_a_web_server(server: Server) -> None:
    """Passing failures are tried again; others say what is wrong."""
    server.files["/a.tar"] = archive("w")
    source = TarSource(url(server, "a.tar"))
    server.faults = ["503", "cut", "429"]
    assert source[20]["image"] == contents()[source[20]["path"]]
    server.faults = ["500"] * 4
    with pytest.raises(RemoteError, match="the server answered 500"):
        TarSource(url(server, "a.tar"))
    server.faults = ["403"]
    with pytest.raises(RemoteAccessError, match="access was refused"):
        TarSource(url(server, "a.tar"))
    with pytest.raises(RemoteNotFoundError, match="no such file"):
        TarSource(url(server, "b.tar"))
    server.etag = '"2"'
    with pytest.raises(RemoteError, match="was replaced while it was read"):
        source[0]
    server.etag = None
    with pytest.raises(SourceError, match="gives no ETag"):
        TarSource(url(server, "a.tar"))
    server.answers_ranges = False
    with pytest.raises(RemoteError, match="answers no ranges"):
        TarSource(url(server, "a.tar"))


def test_a_server_that_is_not_there() -> None:
    """A refused connection names the URL."""
    with pytest.raises(RemoteError, match=r"http://127.0.0.1:9/a.tar cannot be read"):
        TarSource("http://127.0.0.1:9/a.tar")


@pytest.mark.parametrize("mode", ["w", "w:xz"])
def test_archives_on_s3(s3_bucket: Any, mode: Any) -> None:
    """All samples come from S3, through the loader."""
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="x/train.tar", Body=archive(mode))
    source = TarSource(f"{s3_bucket.url}/x/train.tar")
    check(source)
    loader = SlipstreamLoader(
        SlipstreamDataset(remote_dir=f"{s3_bucket.url}/x/train.tar"),
        40,
        shuffle=False,
        verbose=False,
    )
    assert [loader.cache[i]["image"] for i in range(40)] == list(contents().values())
    with pytest.raises(RemoteNotFoundError, match="no such object"):
        TarSource(f"{s3_bucket.url}/x/other.tar")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_listing_and_build_request_an_archive_once(
    s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    """What listing has read is kept for the build, and gone after it; also where there is none."""
    monkeypatch.setattr(kept_file, "_BLOCK_BYTES", 1000)
    data = archive(mode)
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="a.tar", Body=data)
    requested: list[int] = []
    read = ObjectFile.read

    def counted(file: ObjectFile, start: int, stop: int) -> bytes:
        requested.append(stop - start)
        return read(file, start, stop)

    monkeypatch.setattr(ObjectFile, "read", counted)
    source = TarSource(f"{s3_bucket.url}/a.tar", cache_root=tmp_path / "a")
    check(source)
    assert sum(requested) <= len(data) + 10_000
    assert list((tmp_path / "a" / "downloads").iterdir()) == []
    source.close()
    requested.clear()
    check(source)
    assert sum(requested) >= 0.9 * len(data)
    monkeypatch.setattr(kept_file, "_FREE_FOR_EACH_BYTE", 1 << 60)
    requested.clear()
    check(TarSource(f"{s3_bucket.url}/a.tar", cache_root=tmp_path / "b"))
    assert sum(requested) >= 1.8 * len(data)
