"""S3: transfers against the bare s5cmd, and cold starts against litdata's StreamingDataLoader.

A server of its own process (moto, over HTTP, on this machine) holds a data set that litdata's
writer has made of photos, and a cache of it. Then, in turns:

- ``transfer``: the objects of the cache, by the bare s5cmd with the same options, and by us, who
  also check the hash of every file; once as they come, once with all files synced to the disk;
- ``cold start``: from nothing to the end of the first epoch of shuffled raw batches, by litdata's
  ``StreamingDataLoader``, by us with the cache built before training, by us with
  ``overlap_build``, and by us from a tar archive of the same photos. (Moto copies the whole object
  for each range of it, so it is slow for large ones.) Each in a fresh process, whose imports are
  not counted, nor numba's, which come with the first kernel;
- with ``--decode``, the same with images decoded to crops of 224.

Server and clients share the processors: read ratios, not rates.

    python benchmarks/benchmark_s3.py --source photos --repeat 5 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

_TRANSFERS_EACH_ROUND = 3  # they take less than a second

SERVER = """
import logging, sys, time
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""

LITDATA = """
import os, sys, time
import numpy, torch, torchvision
import boto3, obstore, pyarrow.ipc, zstandard
import litdata.streaming.downloader as downloader
from litdata import StreamingDataLoader, StreamingDataset
from torchvision.transforms import v2
downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True
url, directory, decode, workers = sys.argv[1], sys.argv[2], sys.argv[3] == "1", int(sys.argv[4])
crop = v2.RandomResizedCrop(224, antialias=True)
class Decoded(StreamingDataset):
    def __getitem__(self, index):
        row = super().__getitem__(index)
        data = torch.frombuffer(bytearray(row["image"]), dtype=torch.uint8)
        image = torchvision.io.decode_jpeg(data, mode=torchvision.io.ImageReadMode.RGB)
        return {"image": crop(image), "label": row["label"]}
def raw(rows):
    return rows
started = time.perf_counter()
kind = Decoded if decode else StreamingDataset
options = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"], "region_name": "us-east-1",
           "aws_access_key_id": "test", "aws_secret_access_key": "testing"}
data = kind(url, cache_dir=directory, shuffle=True, storage_options=options)
loader = StreamingDataLoader(data, batch_size=64, num_workers=workers,
                             **({} if decode else {"collate_fn": raw}))
count, first = 0, None
for batch in loader:
    first = first or time.perf_counter() - started
    count += len(batch["label"]) if decode else len(batch)
print(count, first, time.perf_counter() - started)
"""

OURS = """
import sys, time
import numpy, torch
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.sources.litdata import LitDataSource
from slipstream_decoders import DecodeRandomResizedCrop
import boto3, pyarrow.ipc, zstandard
url, directory, decode, overlap = sys.argv[1], sys.argv[2], sys.argv[3] == "1", sys.argv[4] == "1"
stages = {"image": [DecodeRandomResizedCrop(224)]} if decode else None
from PIL import Image
import io, os
file = io.BytesIO()
Image.new("RGB", (300, 300)).save(file, "JPEG")
row = {"image": file.getvalue(), "label": 0}
warm = SlipstreamDataset([row] * 4, name="warm", cache_dir=os.path.join(directory, "warm"))
list(SlipstreamLoader(warm, batch_size=2, pipelines=stages, verbose=False))  # what numba imports
started = time.perf_counter()
dataset = SlipstreamDataset(url, cache_dir=directory)
loader = SlipstreamLoader(dataset, batch_size=64, seed=0, drop_last=False, overlap_build=overlap,
                          pipelines=stages)
count, first = 0, None
for batch in loader:
    first = first or time.perf_counter() - started
    count += len(batch["label"])
seconds = time.perf_counter() - started
loader.cache.caches
print(count, first, seconds)
"""


def write_data_set(source: Path, folder: Path, repeat: int) -> int:
    """Photos as litdata's writer stores them; returns their number."""
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(cache_dir=str(folder), chunk_bytes="16MB")
    number = 0
    for _ in range(repeat):
        for path in _photos(source):
            writer.add_item(number, {"image": path.read_bytes(), "label": number % 10})
            number += 1
    writer.done()
    writer.merge()
    return number


def write_archive(source: Path, path: Path, repeat: int) -> None:
    """The same photos as a tar archive of class folders."""
    with tarfile.open(path, "w") as archive:
        for turn in range(repeat):
            for number, photo in enumerate(_photos(source)):
                archive.add(photo, f"class{number % 10}/{turn}-{number}.jpg")


def _photos(source: Path) -> list[Path]:
    return sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))


def cold_start(script: str, url: str, decode: bool, last: str) -> tuple[int, float, float]:
    """Samples, seconds to the first batch and to the end, in a fresh process and directory."""
    with tempfile.TemporaryDirectory(prefix="cold-") as directory:
        environment = {**os.environ, "SLIPSTREAM_CACHE_DIR": directory, "TQDM_DISABLE": "1"}
        command = [sys.executable, "-c", script, url, directory, "1" if decode else "0", last]
        run = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, cwd=directory
        )
        if run.returncode:
            raise RuntimeError(run.stderr[-2000:])
        count, first, seconds = run.stdout.split()[-3:]
        return int(count), float(first), float(seconds)


def synced(directory: Path) -> None:
    """Bring all files to the disk."""
    for path in directory.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def bare_s5cmd(files: list[Any], folder: Any, *, sync: bool, root: Path) -> None:
    """Download by one s5cmd, told what we tell it."""
    from slipstream_s3sync.s5cmd import find_s5cmd

    options = "--raw --part-size 64 --concurrency 5"
    lines = "".join(f"cp {options} '{folder.url_of(f.name)}' '{f.path}'\n" for f in files)
    command = [str(find_s5cmd()), "--endpoint-url", os.environ["AWS_ENDPOINT_URL"], "--json"]
    command += ["--numworkers", "16", "--retry-count", "3", "run"]
    subprocess.run(command, input=lines, text=True, check=True, stdout=subprocess.DEVNULL)
    if sync:
        synced(root)


def transfers(rounds: int, num_bytes: int) -> None:
    """Print the rates of the bare s5cmd and of ours over the same objects."""
    from slipstream_s3sync import RemoteFile, S3Folder, download, upload

    rounds *= _TRANSFERS_EACH_ROUND
    with tempfile.TemporaryDirectory(prefix="transfer-") as name:
        root = Path(name)
        folder = S3Folder("s3://bench/transfer")
        files = _parts(root / "up", num_bytes)
        upload(folder, files)
        for sync in (False, True):
            ours, bare, cpu = [], [], []
            for number in range(rounds + 1):
                down = root / "down"
                down.mkdir()
                here = [RemoteFile(f.name, down / f.name, f.size, f.xxh3) for f in files]
                seconds, cpu_seconds = {}, {}
                for is_ours in (False, True) if number % 2 else (True, False):
                    started, cpu_started = time.perf_counter(), _cpu_seconds()
                    if is_ours:
                        download(folder, here, durable=sync)
                    else:
                        bare_s5cmd(here, folder, sync=sync, root=down)
                    seconds[is_ours] = time.perf_counter() - started
                    cpu_seconds[is_ours] = _cpu_seconds() - cpu_started
                    shutil.rmtree(down)
                    down.mkdir()
                down.rmdir()
                if number:
                    bare.append(seconds[False])
                    ours.append(seconds[True])
                    cpu.append(cpu_seconds[False] / cpu_seconds[True])
            print(f"  by CPU time of the client, sync={sync}: {_spread(cpu)} x")
            what = "transfer, synced" if sync else "transfer"
            _print_ratio(what, bare, ours, 0.9, f"{num_bytes / 1e6:.0f} MB in {len(files)} objects")


def _cpu_seconds() -> float:
    """Of this process and those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _parts(directory: Path, num_bytes: int) -> list[Any]:
    """Files as a cache has them: a few large ones, and small ones beside them."""
    import xxhash

    from slipstream_s3sync import RemoteFile

    directory.mkdir(parents=True)
    sizes = [num_bytes // 8] * 8 + [100_000] * 16
    files = []
    for number, size in enumerate(sizes):
        path = directory / f"{number}.bin"
        path.write_bytes(os.urandom(size))
        digest = xxhash.xxh3_64_hexdigest(path.read_bytes())
        files.append(RemoteFile(path.name, path, size, digest))
    return files


def cold_starts(url: str, num_samples: int, decode: bool, rounds: int) -> None:
    """Print the times from nothing to the end of the first epoch."""
    contestants = {
        "litdata, 0 workers": (LITDATA, "0"),
        "litdata, 2 workers": (LITDATA, "2"),
        "ours": (OURS, "0"),
        "ours, overlap_build": (OURS, "1"),
        "ours, from a tar": (OURS, "0"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    firsts: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, (script, last) in contestants.items():
            place = f"{url}.tar" if "tar" in name else url
            count, first, total = cold_start(script, place, decode, last)
            assert count == num_samples, f"{name} served {count} of {num_samples}"
            if number:
                seconds[name].append(total)
                firsts[name].append(first)
    what = "decoded to RRC-224" if decode else "raw bytes"
    best = min(list(seconds)[:2], key=lambda name: statistics.median(seconds[name]))
    for name in contestants:
        first = statistics.median(firsts[name])
        print(f"  {what}: {name}: first batch {first:.2f} s, epoch {_spread(seconds[name])} s")
    for name in list(seconds)[2:]:
        title = f"cold start, {what}, {name} against {best}"
        _print_ratio(title, seconds[best], seconds[name], 1.2, f"{num_samples} samples")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f} .. {max(values):.2f}]"


def _print_ratio(
    title: str, theirs: list[float], ours: list[float], target: float, of_what: str
) -> None:
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    print(
        f"{title}: {_spread(ratios)} x (target {target}), {of_what}, {len(ours)} rounds; "
        f"{_spread(theirs)} s against ours {_spread(ours)} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="a folder of photos")
    parser.add_argument("--repeat", type=int, default=5, help="times that each photo is stored")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=256, help="of the transfers")
    parser.add_argument("--decode", action="store_true", help="also cold starts with decoding")
    options = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        os.environ.update(
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{int(server.stdout.readline())}",
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="testing",
            AWS_DEFAULT_REGION="us-east-1",
            AWS_REGION="us-east-1",
            AWS_EC2_METADATA_DISABLED="true",
        )
        import boto3

        boto3.client("s3").create_bucket(Bucket="bench")
        transfers(options.rounds, options.megabytes * 1_000_000)
        from slipstream_s3sync import RemoteFile, S3Folder, upload

        with tempfile.TemporaryDirectory(prefix="set-") as name:
            num_samples = write_data_set(options.source, Path(name), options.repeat)
            paths = [path for path in Path(name).iterdir() if path.is_file()]
            files = [RemoteFile(path.name, path, path.stat().st_size) for path in paths]
            upload(S3Folder("s3://bench/set"), files)
            size = sum(file.size for file in files)
        with tempfile.TemporaryDirectory(prefix="tar-") as name:
            path = Path(name) / "set.tar"
            write_archive(options.source, path, options.repeat)
            upload(S3Folder("s3://bench"), [RemoteFile(path.name, path, path.stat().st_size)])
        print(json.dumps({"samples": num_samples, "bytes": size, "chunks": len(files) - 1}))
        for decode in [False, True] if options.decode else [False]:
            cold_starts("s3://bench/set", num_samples, decode, options.rounds)
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait()


if __name__ == "__main__":
    main()
