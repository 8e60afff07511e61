"""Data sets on the Hugging Face Hub, asked through its own client from a stand-in of the Hub."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.errors import RemoteError, RemoteNotFoundError, SourceError
from slipstream_loader.sources import HubTables, TableSource, open_source

SHA = "a" * 40
OTHER_SHA = "b" * 40


class Hub(ThreadingHTTPServer):
    """Repositories as (name, commit) -> file name -> bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[tuple[str, str], dict[str, bytes]] = {}
        self.branches = {"main": SHA, "refs/convert/parquet": OTHER_SHA}
        self.aliases: dict[str, str] = {}
        self.bytes_sent = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if "/tree/" in path:
            name, _, rest = path.removeprefix("/api/datasets/").partition("/tree/")
            self._answer_folder(name, *rest.split("/", 1))
        elif path.startswith("/api/datasets/"):
            name, _, rest = path.removeprefix("/api/datasets/").partition("/revision/")
            self._answer_info(name, rest or "main")
        else:
            name, _, rest = path.removeprefix("/datasets/").partition("/resolve/")
            self._answer_file(name, *rest.split("/", 1))

    def do_HEAD(self) -> None:
        self.do_GET()

    def _files(self, name: str, revision: str) -> dict[str, bytes] | None:
        return self.server.repos.get((name, self.server.branches.get(revision, revision)))

    def _answer_info(self, name: str, revision: str) -> None:
        name = self.server.aliases.get(name, name)
        files = self._files(name, revision)
        if files is None:
            known = any(name == repo for repo, _ in self.server.repos)
            code = "RevisionNotFound" if known else "RepoNotFound"
            self._send(b"{}", 404, {"X-Error-Code": code})
            return
        sha = self.server.branches.get(revision, revision)
        siblings = [{"rfilename": file} for file in files]
        info = {"_id": "1", "id": name, "sha": sha, "siblings": siblings, "private": False}
        self._send(json.dumps({**info, "tags": [], "downloads": 0, "likes": 0}).encode())

    def _answer_folder(self, name: str, revision: str, folder: str = "") -> None:
        files = self._files(name, revision) or {}
        found = [
            {"type": "file", "oid": "0" * 40, "size": len(data), "path": path}
            for path, data in files.items()
            if path.rpartition("/")[0] == folder
        ]
        self._send(json.dumps(found).encode())

    def _answer_file(self, name: str, revision: str, file: str) -> None:
        data = (self._files(name, revision) or {}).get(file)
        if data is None:
            self._send(b"", 404, {"X-Error-Code": "EntryNotFound"})
            return
        headers = {"ETag": '"x"', "X-Repo-Commit": revision}
        asked = self.headers.get("Range")
        if not asked:
            self._send(data, 200, headers)
            return
        begin, _, end = asked.removeprefix("bytes=").partition("-")
        headers["Content-Range"] = f"bytes {begin}-{end}/{len(data)}"
        body = data[int(begin) : int(end) + 1]
        self.server.bytes_sent += len(body)
        self._send(body, 206, headers)

    def _send(self, body: bytes, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Be quiet."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub on this machine, which the client is told to use."""
    import huggingface_hub.constants
    from huggingface_hub import HfFileSystem

    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "caches"))
    with Hub() as hub:
        endpoint = f"http://127.0.0.1:{hub.server_port}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(
            huggingface_hub.constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        )
        HfFileSystem.clear_instance_cache()
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
        thread.start()
        yield hub
        hub.shutdown()
        thread.join(10)
        HfFileSystem.clear_instance_cache()


def parquet(begin: int, count: int) -> bytes:
    random = np.random.default_rng(begin)
    images = [
        {"bytes": b"\xff\xd8\xff" + random.bytes(2000), "path": f"{i}.jpg"} for i in range(count)
    ]
    file = pa.BufferOutputStream()
    table = pa.table({"image": images, "label": list(range(begin, begin + count))})
    pq.write_table(table, file, row_group_size=8)
    return bytes(file.getvalue())


def test_a_data_set_of_the_hub(hub: Hub) -> None:
    """The training split of a data set comes by row groups, in order."""
    hub.repos["lab/photos", SHA] = {
        "README.md": b"",
        "data/train-00000-of-00002.parquet": parquet(0, 20),
        "data/train-00001-of-00002.parquet": parquet(20, 20),
        "data/test-00000-of-00001.parquet": parquet(90, 5),
    }
    source = open_source("hf://datasets/lab/photos")
    assert isinstance(source, TableSource)
    assert source.uri == f"hf://datasets/lab/photos@{SHA}"
    loader = SlipstreamLoader(SlipstreamDataset("hf://datasets/lab/photos"), 40, shuffle=False)
    assert next(iter(loader))["label"].tolist() == list(range(40))
    expected = pq.read_table(pa.BufferReader(parquet(20, 20)))["image"].to_pylist()
    assert [loader.cache[20 + i]["image"] for i in range(20)] == [e["bytes"] for e in expected]
    test = TableSource(HubTables("hf://datasets/lab/photos", split="test"))
    assert [test[i]["label"] for i in range(5)] == list(range(90, 95))
    one = open_source(f"hf://datasets/lab/photos@{SHA}/data/test-00000-of-00001.parquet")
    assert len(one) == 5


def test_a_data_set_without_an_owner(hub: Hub) -> None:
    """The short names of old data sets work, under any of the data set's arguments."""
    hub.aliases["cifar10"] = "uoft-cs/cifar10"
    hub.repos["uoft-cs/cifar10", SHA] = {"plain_text/train-00000-of-00001.parquet": parquet(0, 5)}
    assert len(SlipstreamDataset(input_dir="hf://datasets/cifar10")) == 5


def test_choices_are_not_made_in_silence(hub: Hub) -> None:
    """Several configurations, and splits that are not there, are errors that name them."""
    hub.repos["lab/two", SHA] = {"a/train.parquet": parquet(0, 4), "b/train.parquet": parquet(9, 4)}
    with pytest.raises(SourceError, match="several configurations, a, b: name one folder"):
        open_source("hf://datasets/lab/two")
    assert open_source("hf://datasets/lab/two/b")[0]["label"] == 9
    with pytest.raises(SourceError, match="no split 'test'; it has train"):
        HubTables("hf://datasets/lab/two/b", split="test")


def test_the_parquet_branch(hub: Hub) -> None:
    """A data set in another format is read from the branch that the Hub makes."""
    hub.repos["lab/csv", SHA] = {"data.csv": b"x"}
    hub.repos["lab/csv", OTHER_SHA] = {"default/train/0000.parquet": parquet(3, 4)}
    source = open_source("hf://datasets/lab/csv")
    assert (source[0]["label"], len(source)) == (3, 4)


def test_what_is_not_there(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown data sets and revisions, other URLs and a Hub that is down are told apart."""
    hub.repos["lab/photos", SHA] = {"train.parquet": parquet(0, 2)}
    for url in ("hf://datasets/lab/none", "hf://datasets/lab/photos@v9"):
        with pytest.raises(RemoteNotFoundError, match=f"{url}: there is no such data set"):
            open_source(url)
    with pytest.raises(SourceError, match="no URL of the form"):
        open_source("hf://models/x")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RemoteError, match="the Hub cannot be asked"):
        open_source("hf://datasets/lab/photos")
