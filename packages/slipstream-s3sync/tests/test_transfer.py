"""Transfers by s5cmd and by boto3 give the same: every object whole and right, or a clear error."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xxhash

from slipstream_s3sync import (
    IntegrityError,
    RemoteFile,
    S3AccessError,
    S3ConnectionError,
    S3Folder,
    S3NotFoundError,
    TransferError,
    download,
    transfer,
    upload,
)
from slipstream_s3sync import ranged as ranged_module
from slipstream_s3sync.checks import UPLOAD_PART_BYTES, etag_agrees, etag_of_pieces
from slipstream_s3sync.incoming import Incoming
from slipstream_s3sync.ranged import RangedReader
from slipstream_s3sync.testing import Fault, FaultProxy

pytestmark = pytest.mark.timeout(120)

ODD_NAMES = [
    "plain.bin",
    "with space/und ü/日本.bin",
    "a+b&c%20#d?e=f.bin",
    'quote\'s "double".bin',
    "star*bracket[1].bin",
    "-dash",
]
MIB = 1 << 20


def content(name: str, size: int) -> bytes:
    """Bytes that differ from name to name and from place to place."""
    return (name.encode() + os.urandom(977)) * (size // 900 + 1)


def put(bucket: Any, name: str, data: bytes) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key=f"set/{name}", Body=data)


def wanted(directory: Path, name: str, data: bytes) -> RemoteFile:
    return RemoteFile(name, directory / name, len(data), xxhash.xxh3_64_hexdigest(data))


@pytest.fixture
def folder(s3_bucket: Any) -> S3Folder:
    return S3Folder(f"{s3_bucket.url}/set")


def names_in(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


def test_odd_names_go_up_and_come_down(
    folder: S3Folder, s3_bucket: Any, engine: str, tmp_path: Path
) -> None:
    """Spaces, unicode, quotes, patterns; a second time nothing is copied."""
    data = {name: content(name, 5000)[:5000] for name in ODD_NAMES}
    data["empty"] = b""
    here = []
    for name, value in data.items():
        path = tmp_path / "up" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value)
        here.append(wanted(tmp_path / "up", name, value))
    assert upload(folder, here) == len(data)
    assert upload(folder, here) == 0
    for name, value in data.items():
        found = s3_bucket.client.get_object(Bucket=s3_bucket.name, Key=f"set/{name}")
        assert found["Body"].read() == value
    done: list[int] = []
    files = [wanted(tmp_path / "down", name, value) for name, value in data.items()]
    assert download(folder, files, progress=done.append, durable=True) == len(data)
    assert sum(done) == sum(map(len, data.values()))
    assert download(folder, files) == 0
    assert names_in(tmp_path / "down") == set(data)
    for name, value in data.items():
        assert (tmp_path / "down" / name).read_bytes() == value


def test_large_objects_go_in_pieces(
    folder: S3Folder, s3_bucket: Any, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than 8 MiB down in ranges; more than 64 MiB up by a multipart upload."""
    data = content("large", UPLOAD_PART_BYTES)[: UPLOAD_PART_BYTES + 5 * MIB]
    (tmp_path / "large").write_bytes(data)
    file = wanted(tmp_path, "large", data)
    assert upload(folder, [file]) == 1
    stored = folder.stat("large")
    assert stored is not None
    assert stored.etag == etag_of_pieces(tmp_path / "large", len(data), UPLOAD_PART_BYTES)
    assert stored.etag.endswith("-2")
    assert download(folder, [wanted(tmp_path / "down", "large", data)]) == 1
    assert (tmp_path / "down" / "large").read_bytes() == data
    by_etag = RemoteFile("large", tmp_path / "again", len(data), etag=stored.etag)
    assert download(folder, [by_etag]) == 1
    assert etag_agrees(tmp_path / "again", len(data), stored.etag) is True


def test_broken_transfers_are_mended(
    folder: S3Folder, s3_bucket: Any, engine: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    """503, a dropped connection, a body that is cut off, a changed byte, a slow answer: once."""
    data = {f"{kind}.bin": content(kind, 300_000) for kind in ("status", "drop", "cut", "flip")}
    data["slow.bin"] = content("slow", 200_000)
    for name, value in data.items():
        put(s3_bucket, name, value)
    proxy.faults += [
        Fault("status", "status.bin", value=503, times=1),
        Fault("drop", "drop.bin", times=1),
        Fault("cut", "cut.bin", value=70_000, times=1),
        Fault("flip", "flip.bin", value=70_000, times=1),
        Fault("slow", "slow.bin", value=0.05),
    ]
    files = [wanted(tmp_path / "down", name, value) for name, value in data.items()]
    assert download(folder, files) == len(data)
    for name, value in data.items():
        assert (tmp_path / "down" / name).read_bytes() == value
    assert names_in(tmp_path / "down") == set(data)


def test_what_is_wrong_in_the_bucket_is_named(
    folder: S3Folder, s3_bucket: Any, engine: str, tmp_path: Path
) -> None:
    """Truncated, tampered and missing objects: all others are there, and of these nothing."""
    data = {f"{number}.bin": content(str(number), 50_000) for number in range(6)}
    data["large.bin"] = content("large", 9 * MIB)
    for name, value in data.items():
        put(s3_bucket, name, value)
    put(s3_bucket, "1.bin", data["1.bin"][:-100])
    put(s3_bucket, "2.bin", b"x" + data["2.bin"][1:])
    put(s3_bucket, "large.bin", data["large.bin"][:-1])
    s3_bucket.client.delete_object(Bucket=s3_bucket.name, Key="set/3.bin")
    files = [wanted(tmp_path / "down", name, value) for name, value in data.items()]
    with pytest.raises(TransferError, match=r"4 of \d objects failed") as caught:
        download(folder, files)
    failed = {url.rpartition("/")[2]: reason for url, reason in caught.value.failed.items()}
    assert set(failed) == {"1.bin", "2.bin", "3.bin", "large.bin"}
    size = len(data["1.bin"])
    assert f"expected {size} bytes, found {size - 100}" in failed["1.bin"]
    assert "expected xxh3" in failed["2.bin"]
    assert "there is no such object" in failed["3.bin"]
    assert "expected" in failed["large.bin"]
    right = {path.name for path in (tmp_path / "down").iterdir() if path.suffix == ".bin"}
    assert right == {"0.bin", "4.bin", "5.bin"}
    with pytest.raises(IntegrityError, match=r"2\.bin"):
        download(folder, [file for file in files if file.name == "2.bin"])


def test_etags_tell_the_bytes(
    folder: S3Folder, s3_bucket: Any, proxy: FaultProxy, engine: str, tmp_path: Path
) -> None:
    """Where nothing but an ETag is known, a changed byte is found by it."""
    value = content("x", 100_000)
    put(s3_bucket, "x", value)
    stored = folder.stat("x")
    assert stored is not None
    proxy.faults.append(Fault("flip", "set/x", value=10))
    file = RemoteFile("x", tmp_path / "x", len(value), etag=stored.etag)
    with pytest.raises(IntegrityError, match="ETag"):
        download(S3Folder(folder.url), [file])
    assert not (tmp_path / "x").exists()
    proxy.faults.clear()
    assert download(S3Folder(folder.url), [file]) == 1


def test_a_partial_download_goes_on(
    folder: S3Folder,
    s3_bucket: Any,
    proxy: FaultProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The endpoint goes away in the middle; the next attempt fetches the missing pieces only."""
    monkeypatch.setattr("slipstream_s3sync.transfer.find_s5cmd", lambda: None)
    monkeypatch.setattr(ranged_module, "PIECE_BYTES", MIB)
    monkeypatch.setattr(ranged_module, "_MAX_PAUSE", 0.01)
    value = content("big", 12 * MIB)[: 12 * MIB]
    put(s3_bucket, "big", value)
    file = wanted(tmp_path, "big", value)
    fault = Fault("drop", "set/big")
    proxy.faults += [Fault("slow", "set/big", value=0, times=7), fault]
    with pytest.raises(S3ConnectionError, match="broke off"):
        download(S3Folder(folder.url), [file], workers=2)
    assert not (tmp_path / "big").exists()
    fault.times = 0
    proxy.requests.clear()
    assert download(S3Folder(folder.url), [file]) == 1
    fetched = {found for method, _, found in proxy.requests if method == "GET"}
    assert 0 < len(fetched) < 12
    assert (tmp_path / "big").read_bytes() == value
    assert names_in(tmp_path) == {"big"}


def test_a_partial_download_of_another_object_is_dropped(
    folder: S3Folder,
    s3_bucket: Any,
    proxy: FaultProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pieces of an object that was replaced are not mixed with those of the new one."""
    monkeypatch.setattr("slipstream_s3sync.transfer.find_s5cmd", lambda: None)
    monkeypatch.setattr(ranged_module, "PIECE_BYTES", MIB)
    monkeypatch.setattr(ranged_module, "_MAX_PAUSE", 0.01)
    old, new = (content(name, 6 * MIB)[: 6 * MIB] for name in ("old", "new"))
    put(s3_bucket, "big", old)
    fault = Fault("drop", "set/big")
    proxy.faults += [Fault("slow", "set/big", value=0, times=3), fault]
    with pytest.raises(S3ConnectionError):
        download(S3Folder(folder.url), [wanted(tmp_path, "big", old)], workers=1)
    fault.times = 0
    put(s3_bucket, "big", new)
    assert download(S3Folder(folder.url), [wanted(tmp_path, "big", new)]) == 1
    assert (tmp_path / "big").read_bytes() == new


def test_an_upload_that_breaks_is_mended(
    folder: S3Folder, s3_bucket: Any, engine: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Errors of the service and dropped connections; a truncated object is uploaded again."""
    data = {f"{number}": content(str(number), 60_000) for number in range(4)}
    files = []
    for name, value in data.items():
        (tmp_path / name).write_bytes(value)
        files.append(wanted(tmp_path, name, value))
    put(s3_bucket, "3", data["3"][:-5])
    proxy.faults += [
        Fault("status", "set/0", "PUT", value=503, times=1),
        Fault("drop", "set/1", "PUT", times=1),
    ]
    assert upload(S3Folder(folder.url), files) == 4
    for name, value in data.items():
        found = s3_bucket.client.get_object(Bucket=s3_bucket.name, Key=f"set/{name}")
        assert found["Body"].read() == value
    (tmp_path / "0").write_bytes(b"other")
    with pytest.raises(IntegrityError, match=r"expected \d+ bytes, found 5"):
        upload(folder, files)


def test_what_cannot_be_reached_is_told_apart(
    s3_bucket: Any, engine: str, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bucket, credentials, endpoint: one line each, with what to do and without a secret."""
    (tmp_path / "x").write_bytes(b"x")
    file = RemoteFile("x", tmp_path / "x", 1)
    missing = RemoteFile("x", tmp_path / "none", 1)
    with pytest.raises(S3NotFoundError, match="bucket does not exist"):
        upload(S3Folder("s3://no-such-bucket-here/a"), [file])
    proxy.faults.append(Fault("status", value=403))
    with pytest.raises(S3AccessError, match="credentials do not allow"):
        download(S3Folder(f"{s3_bucket.url}/a"), [missing])
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
    options = {
        "endpoint_url": endpoint,
        "aws_access_key_id": "me",
        "aws_secret_access_key": "hush-hush",
    }
    with pytest.raises(S3ConnectionError, match=f"{endpoint} cannot be reached") as caught:
        S3Folder(s3_bucket.url, options).check()
    assert "hush" not in str(caught.value)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(S3AccessError, match="no credentials"):
        S3Folder(s3_bucket.url).check()


def test_anonymous_access(
    s3_bucket: Any, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public object is read without credentials."""
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="x", Body=b"public", ACL="public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    folder = S3Folder(s3_bucket.url, {"anonymous": True})
    assert download(folder, [wanted(tmp_path, "x", b"public")]) == 1


SCRIPT = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
from slipstream_s3sync import RemoteFile, S3Folder, download, transfer
if sys.argv[3] == "boto3":
    transfer.find_s5cmd = lambda: None
files = [RemoteFile(f"{i}", Path(sys.argv[2]) / f"{i}", 9_000_000) for i in range(4)]
print("begun", flush=True)
download(S3Folder(sys.argv[1]), files, workers=2)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_an_interrupt_leaves_nothing_half_visible(
    folder: S3Folder, s3_bucket: Any, engine: str, proxy: FaultProxy, tmp_path: Path, name: str
) -> None:
    """Stopped in the middle, s5cmd perhaps living on: no broken file, and then just the files."""
    for number in range(4):
        put(s3_bucket, str(number), bytes(9_000_000))
    proxy.faults += [Fault("slow", f"set/{number}", value=0.2) for number in (1, 2, 3)]
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, folder.url, str(tmp_path), engine],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    run.stdout.readline()
    deadline = time.monotonic() + 60
    while not any("set/2" in path for _, path, _ in proxy.requests):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(getattr(signal, name))
    _, errors = run.communicate(timeout=60)
    assert run.returncode != 0
    assert ("KeyboardInterrupt" in errors) == (name == "SIGINT")
    named = {path.name for path in tmp_path.iterdir()} - {".incoming"}
    assert named < set("0123")
    assert all((tmp_path / name).stat().st_size == 9_000_000 for name in named)
    proxy.faults.clear()
    files = [RemoteFile(f"{i}", tmp_path / f"{i}", 9_000_000) for i in range(4)]
    download(S3Folder(folder.url), files)
    assert names_in(tmp_path) == set("0123")


def test_downloads_to_one_place_at_once(s3_bucket: Any, folder: S3Folder, tmp_path: Path) -> None:
    """What another process has put in its place meanwhile is taken as brought."""
    data = content("x", 5000)
    put(s3_bucket, "x", data)
    file = wanted(tmp_path, "x", data)
    incoming = Incoming(tmp_path / "incoming")
    run = transfer._Downloads(folder, incoming, 2, False, lambda _: None)
    file.path.write_bytes(data)
    with incoming:
        assert run._take(file) is True
        file.path.unlink()
        assert run._take(file) is False

    class Overtaken(RangedReader):
        def fetch(self, file: RemoteFile) -> Path:
            path = super().fetch(file)
            path.replace(file.path)
            return path

    with incoming:
        run._fetch(Overtaken(folder, incoming, 1), file)
    assert file.path.read_bytes() == data


def test_what_killed_runs_left_is_removed(tmp_path: Path) -> None:
    """Their files go when nothing was written for a while; pieces to go on with stay."""
    incoming, file = Incoming(tmp_path / "incoming"), tmp_path / "file"
    incoming.__enter__()
    killed = incoming.path_for(file)
    killed.write_bytes(b"half of it")
    incoming.partial_for(file).write_bytes(b"pieces")
    with Incoming(tmp_path / "incoming") as other:
        assert other.path_for(file) != killed
        assert killed.exists()
    for path in (killed, killed.parent):
        os.utime(path, (0, 0))
    with Incoming(tmp_path / "incoming") as other:
        assert not killed.parent.exists()
        assert other.partial_for(file).read_bytes() == b"pieces"
    incoming.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_files_come_and_go_is_not_left_behind(tmp_path: Path) -> None:
    """A file that gets its name while others look keeps its run."""
    incoming = Incoming(tmp_path / "incoming")
    with incoming:
        own = incoming.path_for(tmp_path / "file")
        own.symlink_to(tmp_path / "gone")  # is listed, and is not there
        with Incoming(tmp_path / "incoming"):
            assert own.is_symlink()


def test_etags_that_tell_nothing_are_no_failure(
    folder: S3Folder, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Services that make them otherwise: an upload is compared by its size."""
    (tmp_path / "x").write_bytes(b"123")
    stat = S3Folder.stat

    def opaque(self: S3Folder, name: str) -> Any:
        found = stat(self, name)
        return found and replace(found, etag="Zm9vYmFy")

    monkeypatch.setattr(S3Folder, "stat", opaque)
    assert upload(folder, [wanted(tmp_path, "x", b"123")]) == 1
    assert folder.read("x") == b"123"
