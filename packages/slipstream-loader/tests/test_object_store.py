"""Reading from S3: a real HTTP server, good and bad objects, transfers that break off."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import FlexibleChecksumError

from slipstream_loader.errors import (
    RemoteAccessError,
    RemoteError,
    RemoteNotFoundError,
    SourceError,
)
from slipstream_loader.sources.object_store import ObjectStore, open_object_store
from slipstream_s3sync.connection import WASABI_ENDPOINT

pytestmark = pytest.mark.timeout(120)


def put(bucket: Any, key: str, data: bytes) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=data)


@pytest.fixture
def opened() -> Iterator[list[ObjectStore]]:
    """Stores that are closed at the end."""
    stores: list[ObjectStore] = []
    yield stores
    for store in stores:
        store.close()


def test_objects_are_listed_stated_and_read(
    s3_bucket: Any, tmp_path: Path, opened: list[ObjectStore]
) -> None:
    """Odd names, ranges like slices, whole objects to files; nothing beside the prefix."""
    contents = {"a.bin": bytes(range(200)), "sub/ü +&%.txt": b"", "z": b"x" * 3_000_000}
    for name, data in contents.items():
        put(s3_bucket, f"data/{name}", data)
    put(s3_bucket, "database", b"elsewhere")
    store = open_object_store(f"{s3_bucket.url}/data/")
    opened.append(store)
    assert {info.name: info.size for info in store.list()} == {
        name: len(data) for name, data in contents.items()
    }
    for name, data in contents.items():
        assert store.stat(name).size == len(data)
        assert store.read(name) == data
        store.download(name, tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == data
    data = contents["a.bin"]
    for start, stop in [(0, 10), (50, 60), (190, 500), (200, 300), (900, None), (7, 7), (3, None)]:
        assert store.read("a.bin", start, stop) == data[start:stop]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_url_may_name_an_object(s3_bucket: Any, opened: list[ObjectStore]) -> None:
    """The empty name is the URL itself; a pickled store opens its own connection."""
    put(s3_bucket, "folder/train.tar", b"0123456789")
    store = open_object_store(f"{s3_bucket.url}/folder/train.tar")
    copy: ObjectStore = pickle.loads(pickle.dumps(store))
    opened += [store, copy]
    assert (store.stat().size, store.read("", 2, 4)) == (10, b"23")
    assert copy.read() == b"0123456789"
    assert copy.url == f"{s3_bucket.url}/folder/train.tar"
    store.close()
    assert store.read("", 8) == b"89"


def test_a_replaced_object_is_noticed(s3_bucket: Any, opened: list[ObjectStore]) -> None:
    """Reads under an ETag fail when the content has another one."""
    put(s3_bucket, "x", b"old")
    store = open_object_store(s3_bucket.url)
    opened.append(store)
    etag = store.stat("x").etag
    assert store.read("x", etag=etag) == b"old"
    put(s3_bucket, "x", b"new")
    with pytest.raises(RemoteError, match="was replaced"):
        store.read("x", etag=etag)


def test_what_cannot_be_read_is_named(s3_bucket: Any, opened: list[ObjectStore]) -> None:
    """Missing objects and buckets, a dead endpoint; no credentials in any message."""
    store = open_object_store(s3_bucket.url)
    opened.append(store)
    with pytest.raises(RemoteNotFoundError, match=f"{s3_bucket.url}/none: there is no such"):
        store.read("none")
    with pytest.raises(RemoteNotFoundError, match="none"):
        store.stat("none")
    nowhere = open_object_store("s3://no-such-bucket-here")
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
    secret = {"aws_access_key_id": "me", "aws_secret_access_key": "hush-hush"}
    dead = open_object_store(s3_bucket.url, {"endpoint_url": endpoint, **secret})
    opened += [nowhere, dead]
    with pytest.raises(RemoteNotFoundError, match="bucket does not exist"):
        list(nowhere.list())
    with pytest.raises(RemoteError, match="cannot be reached") as caught:
        dead.read("x")
    assert "hush" not in str(caught.value) + repr(dead) + repr(caught.value.__cause__)


def test_missing_credentials_are_told(
    s3_bucket: Any, monkeypatch: pytest.MonkeyPatch, opened: list[ObjectStore]
) -> None:
    """Signed requests need them; anonymous ones do not, nor Wasabi's without such a profile."""
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="x", Body=b"public", ACL="public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    signed = open_object_store(s3_bucket.url)
    public = open_object_store(s3_bucket.url, {"AWS_NO_SIGN_REQUEST": "yes"})
    wasabi = open_object_store(
        s3_bucket.url, {"endpoint_url": s3_bucket.endpoint_url}, profile="wasabi"
    )
    opened += [signed, public, wasabi]
    with pytest.raises(RemoteAccessError, match="AWS_ACCESS_KEY_ID"):
        signed.read("x")
    assert public.read("x") == wasabi.read("x") == b"public"
    unknown = open_object_store(s3_bucket.url, profile="nobody")
    with pytest.raises(RemoteAccessError, match="nobody"):
        unknown.read("x")


def test_profiles_of_the_configuration(s3_bucket: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Their credentials are taken; Wasabi's endpoint is that of its profile name."""
    config = tmp_path / "credentials"
    config.write_text("[wasabi]\naws_access_key_id = w\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(config))
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    store = open_object_store("s3://bucket", profile="wasabi")
    client = store._folder.connection.client
    assert client.meta.endpoint_url == WASABI_ENDPOINT
    assert client._request_signer._credentials.access_key == "w"
    store.close()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://", {}),
        ("https://host/x", {}),
        ("s3://user:word@bucket/x", {}),
        ("s3://bucket", {"endpoint": "http://x"}),
    ],
)
def test_bad_arguments_are_refused(url: str, options: dict[str, str]) -> None:
    """Before any request; a password in the URL is not repeated."""
    with pytest.raises(SourceError) as caught:
        open_object_store(url, options)
    assert "word" not in str(caught.value)


class Breaking(BaseHTTPRequestHandler):
    """Sends at most 400 kB of an object before it closes the connection."""

    data = bytes(range(256)) * 4000
    broken = 0
    longest = 400_000

    def do_GET(self) -> None:
        first, last = 0, len(self.data) - 1
        if "Range" in self.headers:
            given = self.headers["Range"].removeprefix("bytes=").split("-")
            first, last = int(given[0]), int(given[1] or last)
        body = self.data[first : last + 1]
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"e"')
        self.end_headers()
        self.wfile.write(body[: self.longest])
        if len(body) > self.longest:
            type(self).broken += 1
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def breaking() -> Iterator[ObjectStore]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Breaking)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    store = open_object_store(
        "s3://bucket/x",
        {"endpoint_url": f"http://127.0.0.1:{server.server_port}", "anonymous": True},
    )
    yield store
    store.close()
    server.shutdown()
    server.server_close()
    thread.join()


def test_bytes_that_do_not_fit_their_checksum_are_an_error(
    breaking: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A complaint after the last byte is not taken for the end."""

    class Body:
        def __init__(self) -> None:
            self._blocks = iter([b"wrong"])

        def read(self, size: int) -> bytes:
            try:
                return next(self._blocks)
            except StopIteration:
                raise FlexibleChecksumError(error_msg="the checksum differs") from None

        def close(self) -> None:
            """Nothing is open."""

    answer = {"ETag": '"e"', "ContentLength": 5, "Body": Body()}
    monkeypatch.setattr(breaking, "_get", lambda *_: answer)
    with pytest.raises(RemoteError, match="the checksum differs"):
        breaking.read()


def test_a_transfer_that_breaks_off_goes_on(breaking: ObjectStore, tmp_path: Path) -> None:
    """Where it was, in memory and in a file; one that never gets on ends in an error."""
    Breaking.broken, Breaking.longest = 0, 400_000
    assert breaking.read() == Breaking.data
    assert Breaking.broken == 2
    breaking.download("", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == Breaking.data
    Breaking.longest = 0
    with pytest.raises(RemoteError, match="broke off"):
        breaking.download("", tmp_path / "y")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
