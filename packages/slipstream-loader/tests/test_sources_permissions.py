"""Files and folders that may not be read: the error names them, and says so."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipstream_cache.testing import make_jpeg

pytestmark = pytest.mark.timeout(120)

SCRIPT = """
import encodings.utf_8_sig  # Python itself may lie where only root may read
import json, os, sys
from pathlib import Path
import pyarrow.parquet
from slipstream_loader import SlipstreamDataset, prepare_cache
from slipstream_loader.errors import LoaderError
from slipstream_cache import CacheError

if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
found = {}
for name, place in json.loads(sys.stdin.read()).items():
    try:
        prepare_cache(SlipstreamDataset(place, cache_dir=sys.argv[1]), verbose=False)
        found[name] = "nothing was raised"
    except (LoaderError, CacheError) as error:
        found[name] = str(error)
    except Exception as error:
        found[name] = f"raw {error!r}"
print(json.dumps(found))
"""


def members(count: int = 2) -> list[tuple[str, bytes]]:
    """The members of some samples of WebDataset."""
    names = [f"{number}.{ending}" for number in range(count) for ending in ("jpg", "cls")]
    return [(name, make_jpeg(2, 2) if name.endswith("jpg") else b"1") for name in names]


def shard(path: Path, mode: str = "w") -> Path:
    """An archive of them."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def photos(root: Path) -> Path:
    """Two class folders of two images."""
    for name in ("a/0", "a/1", "b/2", "b/3"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.jpg").write_bytes(make_jpeg(2, 2))
    return root


def listed(root: Path) -> Path:
    """A list of them."""
    photos(root)
    with (root / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path",), ("a/0.jpg",), ("b/2.jpg",)])
    return root / "list.csv"


def parquet(root: Path) -> Path:
    pq.write_table(pa.table({"image": [make_jpeg(2, 2)]}), root / "0.parquet")
    return root / "0.parquet"


def tables(root: Path) -> Path:
    """A folder with a table, and one in it with another."""
    (root / "train").mkdir()
    parquet(root / "train")
    return parquet(root).parent


def litdata(root: Path) -> Path:
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(cache_dir=str(root), chunk_size=2)
    for index in range(2):
        writer.add_item(index, {"image": make_jpeg(2, 2)})
    writer.done()
    writer.merge()
    return root


def mds(root: Path) -> Path:
    image = make_jpeg(2, 2)
    data = struct.pack("<III", 1, 12, 16 + len(image)) + struct.pack("<I", len(image)) + image
    (root / "shard.00000.mds").write_bytes(data)
    raw = {"basename": "shard.00000.mds", "bytes": len(data), "hashes": {}}
    columns = {"column_names": ["image"], "column_encodings": ["jpeg"], "column_sizes": [None]}
    entry = {**columns, "format": "mds", "version": 2, "raw_data": raw, "zip_data": None}
    entry |= {"hashes": [], "samples": 1, "compression": None, "size_limit": None}
    (root / "index.json").write_text(json.dumps({"version": 2, "shards": [entry]}))
    return root


def two_shards(root: Path) -> Path:
    shard(root / "0.tar")
    shard(root / "1.tar")
    return root


CASES: dict[str, tuple[Callable[[Path], Path], str, int]] = {
    "archive": (lambda root: shard(root / "a.tar"), "a.tar", 0),
    "compressed archive": (lambda root: shard(root / "a.tar.gz", "w:gz"), "a.tar.gz", 0),
    "list": (listed, "list.csv", 0),
    "image of a list": (listed, "b/2.jpg", 0),
    "folder of a list": (listed, "b", 0),
    "parquet file": (parquet, "0.parquet", 0),
    "folder of tables": (tables, "train", 0),
    "image": (photos, "a/1.jpg", 0),
    "class folder": (photos, "b", 0),
    "class folder that can be listed": (photos, "b", 0o444),
    "class folder that can be entered": (photos, "b", 0o111),
    "folder": (photos, ".", 0),
    "folder that can be listed": (photos, ".", 0o444),
    "folder that can be entered": (photos, ".", 0o111),
    "folder of a file": (parquet, ".", 0),
    "first shard": (two_shards, "0.tar", 0),
    "second shard": (two_shards, "1.tar", 0),
    "index of LitData": (litdata, "index.json", 0),
    "chunk": (litdata, "chunk-0-0.bin", 0),
    "index of MDS": (mds, "index.json", 0),
    "shard of MDS": (mds, "shard.00000.mds", 0),
}
"""What writes a source, which of its files may not be used, and the rights that are left."""


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What opening and building from each source says to somebody who may not read it."""
    base = tmp_path_factory.mktemp("permissions")
    for folder in (base, *base.parents):
        if Path(gettempdir()) in folder.parents:
            folder.chmod(0o755)
    (base / "caches").mkdir()
    (base / "caches").chmod(0o777)
    places = {}
    for number, (name, (write, _, _)) in enumerate(CASES.items()):
        (base / str(number)).mkdir()
        places[name] = write(base / str(number))
    for number, (_, file, mode) in enumerate(CASES.values()):
        (base / str(number) / file).chmod(mode)
    try:
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(base / "caches")],
            input=json.dumps({name: str(place) for name, place in places.items()}),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    finally:
        for number, (_, file, _) in enumerate(CASES.values()):
            (base / str(number) / file).chmod(0o755)
    assert run.returncode == 0, run.stderr
    found: dict[str, str] = json.loads(run.stdout)
    return found


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
@pytest.mark.parametrize("name", CASES)
def test_what_may_not_be_read_is_named(name: str, messages: dict[str, str]) -> None:
    """The message has the file or folder, and that permission was denied."""
    message = messages[name]
    file = CASES[name][1]
    assert not message.startswith("raw"), message
    assert (file if file != "." else f"/{list(CASES).index(name)}") in message
    assert "Permission denied" in message
