"""Building a cache from each kind of source against what bounds it, with the peak of memory.

The same images are written as a folder, as tar archives, as parquet, as a ``datasets.Dataset``, as
a generator, by litdata, and put on an S3 server on this machine (moto, which is slow). A build
(opening, hashing, listing, storing, syncing) and its bound take turns; each build runs in a process
of its own, which reports its anonymous memory's growth after the imports. A bound is what a build
cannot do without, by the plainest means: all bytes are read (decompressed in one thread, read by
pyarrow, or downloaded by boto3 on eight threads), written to one file, and synced.

    python benchmarks/benchmark_sources.py --source photos --repeat 20 --rounds 3
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import json
import lzma
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

LOCAL_KINDS = (
    "folder",
    "tar",
    "tar.gz",
    "tar.bz2",
    "tar.xz",
    "parquet",
    "dataset",
    "generator",
    "litdata",
)
S3_KINDS = ("s3 tar", "s3 tar.gz", "s3 parquet", "s3 litdata")
KINDS = (*LOCAL_KINDS, *S3_KINDS)
_BUCKET = "benchmark"
_MODES = {"tar": "w", "tar.gz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}
_BLOCK = 1 << 20


def images(source: Path, times: int) -> Iterator[tuple[str, bytes]]:
    """Every image so many times under other names: (class/file, bytes)."""
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for number in range(times):
            yield f"{path.parent.name}/{number:04d}_{path.name}", data


def write(kind: str, source: Path, times: int, root: Path) -> Path:
    """Write the images in one form; returns its place."""
    target = root / (f"photos.{kind}" if kind != "folder" else "photos")
    if kind in ("folder", "generator"):
        target = root / "photos"
        for name, content in () if target.exists() else images(source, times):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
    elif kind in _MODES:
        level = {"compresslevel": 1} if kind in ("tar.gz", "tar.bz2") else {}
        level = {"preset": 0} if kind == "tar.xz" else level
        with tarfile.open(target, _MODES[kind], **level) as tar:  # type: ignore[call-overload]
            tar.add(root / "photos", "photos")
    elif kind == "litdata":
        from litdata.streaming.writer import BinaryWriter

        writer = BinaryWriter(cache_dir=str(target), chunk_bytes="64MB")
        for number, (_, content) in enumerate(images(source, times)):
            writer.add_item(number, {"image": content, "label": number})
        writer.done()
        writer.merge()
    else:
        import datasets

        rows = [
            {"image": {"bytes": data, "path": name}, "label": len(name)}
            for name, data in images(source, times)
        ]
        features = {"image": datasets.Image(), "label": datasets.Value("int64")}
        data = datasets.Dataset.from_list(rows, features=datasets.Features(features))
        if kind == "parquet":
            data.to_parquet(target)
        else:
            data.save_to_disk(str(target))
    return target


@contextmanager
def s3_server() -> Iterator[None]:
    """An S3 server in a process of its own; the environment says where it is."""
    code = (
        "import logging, sys; logging.getLogger('werkzeug').setLevel(logging.ERROR);"
        "from moto.server import ThreadedMotoServer;"
        "server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False);"
        "server.start(); print(server.get_host_and_port()[1], flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(process.stdout.readline())}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        s3_client().create_bucket(Bucket=_BUCKET)
        yield
    finally:
        process.stdin.close()
        process.wait(30)


def s3_client() -> Any:
    """boto3's."""
    import boto3

    return boto3.client("s3")


def upload(place: Path) -> str:
    """Put a file, or all files of a folder, on the server; returns the URL."""
    client = s3_client()
    if place.is_file():
        client.upload_file(str(place), _BUCKET, place.name)
    for path in place.iterdir() if place.is_dir() else ():
        client.upload_file(str(path), _BUCKET, f"{place.name}/{path.name}")
    return f"s3://{_BUCKET}/{place.name}"


def opened(kind: str, place: str) -> Any:
    """The source of a kind."""
    if kind == "dataset":
        import datasets

        return datasets.load_from_disk(place)
    if kind == "generator":
        files = sorted(path for path in Path(place).rglob("*") if path.is_file())
        return ({"image": path.read_bytes(), "path": path.name} for path in files)
    return place


def build_here(kind: str, place: str, cache_root: Path) -> None:
    """Build a cache in this process; print seconds, bytes and the peak of memory."""
    import boto3  # noqa: F401  (not to be timed)
    import pyarrow.parquet  # noqa: F401
    import zstandard  # noqa: F401

    import slipstream_loader.transcode  # noqa: F401
    from slipstream_loader import SlipstreamDataset, prepare_cache

    source = opened(kind, place)
    before, peak, done = anonymous_bytes(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began, began_cpu = time.perf_counter(), time.process_time()
    name = "images" if kind == "generator" else None
    dataset = SlipstreamDataset(source, cache_dir=cache_root, name=name)
    cache = prepare_cache(dataset, verbose=False)
    subprocess.run(["sync", "-f", str(cache_root)], check=True)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    done.set()
    watcher.join()
    found = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "samples": len(cache),
        "bytes": cache.manifest.num_bytes,
    }
    print(json.dumps({**found, "peak_bytes": peak[0] - before}))


def anonymous_bytes() -> int:
    """Memory of this process that is not of files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise OSError("no RssAnon in /proc/self/status")


def build_apart(kind: str, place: str, cache_root: Path) -> dict[str, float]:
    """Build in a fresh process, into an empty place."""
    shutil.rmtree(cache_root, ignore_errors=True)
    cache_root.mkdir()
    os.sync()
    arguments = ["--build", kind, place, str(cache_root)]
    command = [sys.executable, __file__, *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def contents(kind: str, place: str) -> Iterator[Any]:
    """All bytes of a source, read by the plainest means."""
    openers: dict[str, Callable[..., Any]] = {
        "tar.gz": gzip.open,
        "tar.bz2": bz2.open,
        "tar.xz": lzma.open,
    }
    if kind in openers:
        with openers[kind](place) as file:
            while block := file.read(_BLOCK):
                yield block
    elif kind == "parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(place).iter_batches(64):
            yield batch.column("image").field("bytes").buffers()[2]
    else:
        client, prefix = s3_client(), place.removeprefix(f"s3://{_BUCKET}/")
        found = client.list_objects_v2(Bucket=_BUCKET, Prefix=prefix)["Contents"]
        spans = [
            (entry["Key"], begin)
            for entry in found
            for begin in range(0, entry["Size"], 8 * _BLOCK)
        ]

        def read(span: tuple[str, int]) -> bytes:
            key, begin = span
            wanted = f"bytes={begin}-{begin + 8 * _BLOCK - 1}"
            answer = client.get_object(Bucket=_BUCKET, Key=key, Range=wanted)
            data: bytes = answer["Body"].read()
            return data

        with ThreadPoolExecutor(8) as pool:
            for first in range(0, len(spans), 8):
                yield from pool.map(read, spans[first : first + 8])


def bound(kind: str, place: str, scratch: Path) -> float:
    """Seconds of what a build cannot do without."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    os.sync()
    began = time.perf_counter()
    if kind.startswith("s3 ") or kind in ("tar.gz", "tar.bz2", "tar.xz", "parquet"):
        with (scratch / "copy").open("wb", buffering=0) as file:
            for block in contents(kind, place):
                file.write(block)
    else:
        subprocess.run(["cp", "-r", place, str(scratch / "copy")], check=True)
    subprocess.run(["sync", "-f", str(scratch)], check=True)
    return time.perf_counter() - began


def main() -> None:
    """Write one JSON object: each kind's rates, ratio and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, help="a folder of JPEG files in class folders")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=LOCAL_KINDS)
    parser.add_argument("--directory", type=Path, help="where to work; default: a temporary one")
    parser.add_argument("--build", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.build:
        kind, place, cache_root = arguments.build
        build_here(kind, place, Path(cache_root))
        return
    has_s3 = any(kind in S3_KINDS for kind in arguments.kinds)
    results = []
    with (
        tempfile.TemporaryDirectory(dir=arguments.directory) as directory,
        s3_server() if has_s3 else nullcontext(),
    ):
        root = Path(directory)
        write("folder", arguments.source, arguments.repeat, root)
        for kind in arguments.kinds:
            written = write(kind.removeprefix("s3 "), arguments.source, arguments.repeat, root)
            place = upload(written) if kind in S3_KINDS else str(written)
            results.append(measured(kind, place, root, arguments.rounds))
            sys.stderr.write(json.dumps(results[-1]) + "\n")
            if written.name != "photos":
                shutil.rmtree(written) if written.is_dir() else written.unlink()
    sys.stdout.write(json.dumps(results, indent=1) + "\n")


def measured(kind: str, place: str, root: Path, rounds: int) -> dict[str, Any]:
    """Builds and bounds in turns: rates, the rounds' ratios, and the peak of memory."""
    builds, bounds = [], []
    for number in range(rounds + 1):  # the first round warms the page cache
        took = bound(kind, place, root / "scratch")
        build = build_apart(kind, place, root / "caches")
        if number:
            bounds.append(took)
            builds.append(build)
    seconds = [build["seconds"] for build in builds]
    size = builds[0]["bytes"]
    ratios = [one / other for one, other in zip(bounds, seconds, strict=True)]
    return {
        "source": kind,
        "megabytes": round(size / 1e6),
        "images_per_second": round(builds[0]["samples"] / statistics.median(seconds)),
        "megabytes_per_second": round(size / 1e6 / statistics.median(seconds)),
        "seconds": [round(value, 2) for value in seconds],
        "cpu_seconds": [round(build["cpu_seconds"], 2) for build in builds],
        "bound_seconds": [round(value, 2) for value in bounds],
        "of_bound": round(statistics.median(ratios), 2),
        "of_bound_of_rounds": [round(value, 2) for value in ratios],
        "peak_megabytes": round(max(b["peak_bytes"] for b in builds) / 1e6),
    }


if __name__ == "__main__":
    main()
