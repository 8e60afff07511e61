"""Damages one file of a source at a time, and builds a cache from it: a clear error, or the data.

Each run changes one to eight bytes, cuts off the end, or repeats a block of one file of a tiny
source. A process of its own opens it, builds the cache and reads all of that. It must end, by
itself, in time and with bounded memory; what it raises must be an error of the library; and data
that is not the data that was stored is only right where the format has no checksum of it.

    python benchmarks/campaigns/mutated_sources.py --runs 300 --kinds tar.gz parquet
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import json
import logging
import multiprocessing
import os
import random
import resource
import shutil
import struct
import sys
import tarfile
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from outcome import end
from PIL import Image

from slipstream_cache import CacheError
from slipstream_decoders import DecodeError
from slipstream_loader import SlipstreamDataset, prepare_cache
from slipstream_loader.errors import LoaderError
from slipstream_loader.exports import export_beton

Sample = dict[str, Any]
_SPAWN = multiprocessing.get_context("spawn")
_TIMEOUT_S = 20.0
_START_S = 400.0
"""With kernels to compile, on a busy machine."""
_GROWTH_MB = 500.0
_NUM_SAMPLES = 12
_CHECKED = ("tar.gz", "tar.bz2", "tar.xz")
"""Kinds with a checksum of everything."""


def make_samples() -> list[Sample]:
    """Small images with what describes them."""
    rng, samples = np.random.default_rng(0), []
    for number in range(_NUM_SAMPLES):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 9 + number), np.uint8)).save(file, "JPEG")
        text = f"class {number % 3}, ü"
        samples.append({"image": file.getvalue(), "label": number % 3, "caption": text})
    return samples


def write_archive(ending: str, folder: Path, samples: list[Sample]) -> Path:
    """A tar archive of class folders."""
    path, mode = folder / f"a.{ending}", f"w:{ending.partition('.')[2]}"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for number, sample in enumerate(samples):
            add_member(archive, f"{sample['label']}/{number}.jpg", sample["image"])
    return path


def write_webdataset(folder: Path, samples: list[Sample]) -> Path:
    """Two shards."""
    for shard in range(2):
        with tarfile.open(folder / f"{shard}.tar", "w") as archive:
            for number, sample in list(enumerate(samples))[shard::2]:
                add_member(archive, f"{number}.jpg", sample["image"])
                add_member(archive, f"{number}.cls", str(sample["label"]).encode())
                add_member(archive, f"{number}.txt", sample["caption"].encode())
    return folder


def add_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """A file of an archive."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def write_litdata(
    options: dict[str, Any], is_rows: bool, folder: Path, samples: list[Sample]
) -> Path:
    """Three chunks; samples that hold an array are no Arrow rows."""
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(cache_dir=str(folder), chunk_size=5, **options)
    for number, sample in enumerate(samples):
        array = {} if is_rows else {"vector": np.arange(3) * number}
        writer.add_item(number, {**sample, **array})
    writer.done()
    writer.merge()
    return folder


def write_beton(folder: Path, samples: list[Sample]) -> Path:
    """By way of a cache."""
    with tempfile.TemporaryDirectory() as caches:
        cache = prepare_cache(SlipstreamDataset(samples, cache_dir=caches), verbose=False)
        return export_beton(cache, folder / "a.beton", verbose=False)


def write_mds(folder: Path, samples: list[Sample]) -> Path:
    """Two shards: the number of samples, where each begins, and their values with their sizes."""
    entries = []
    for shard in range(2):
        rows = []
        for sample in samples[shard::2]:
            caption = sample["caption"].encode()
            sizes = struct.pack("<II", len(sample["image"]), len(caption))
            rows.append(sizes + sample["image"] + struct.pack("<q", sample["label"]) + caption)
        begins = np.cumsum([4 * (len(rows) + 2), *map(len, rows)])
        data = struct.pack(f"<{len(rows) + 2}I", len(rows), *begins) + b"".join(rows)
        raw = {"basename": f"shard.{shard:05}.mds", "bytes": len(data), "hashes": {}}
        (folder / f"shard.{shard:05}.mds").write_bytes(data)
        columns = {"names": ["image", "label", "caption"], "encodings": ["jpeg", "int", "str"]}
        columns["sizes"] = [None, 8, None]  # type: ignore[list-item]
        entry = {f"column_{name}": value for name, value in columns.items()}
        entry |= {"format": "mds", "version": 2, "raw_data": raw, "zip_data": None, "hashes": []}
        entries.append({**entry, "samples": len(rows), "compression": None, "size_limit": None})
    (folder / "index.json").write_text(json.dumps({"version": 2, "shards": entries}))
    return folder


def write_parquet(folder: Path, samples: list[Sample]) -> Path:
    """Three row groups, compressed by Snappy as most are."""
    pq.write_table(pa.Table.from_pylist(samples), folder / "a.parquet", row_group_size=5)
    return folder / "a.parquet"


def write_arrow(create: Callable[..., Any], folder: Path, samples: list[Sample]) -> Path:
    """Three batches."""
    table = pa.Table.from_pylist(samples)
    with create(str(folder / "a.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    return folder / "a.arrow"


_FRAMES = {"compression": "zstd", "compression_batch_size": 3}
_PACKED_FILES = {"compression": "zstd", "compression_level": "chunk"}
WRITERS: dict[str, Callable[[Path, list[Sample]], Path]] = {
    **{ending: partial(write_archive, ending) for ending in ("tar", "tar.gz", "tar.bz2", "tar.xz")},
    "webdataset": write_webdataset,
    "litdata": partial(write_litdata, {}, False),
    "litdata-frames": partial(write_litdata, _FRAMES, False),
    "litdata-zstd": partial(write_litdata, _PACKED_FILES, False),
    "litdata-rows": partial(write_litdata, {}, True),
    "beton": write_beton,
    "mds": write_mds,
    "parquet": write_parquet,
    "arrow": partial(write_arrow, pa.ipc.new_file),
    "arrow-stream": partial(write_arrow, pa.ipc.new_stream),
}


def mutate(directory: Path, rng: random.Random) -> str:
    """Damage a file; says what."""
    path = rng.choice(sorted(path for path in directory.rglob("*") if path.is_file()))
    data, kind = bytearray(path.read_bytes()), rng.choice(["change", "change", "cut", "repeat"])
    ends = min(len(data), 4096)  # most formats have their tables there
    begin = rng.choice([rng.randrange(len(data)), rng.randrange(ends), -1 - rng.randrange(ends)])
    begin %= len(data)
    if kind == "cut":
        del data[begin:]
    elif kind == "repeat":
        data[begin:begin] = data[begin : begin + rng.choice([1, 8, 512, 1024])]
    else:
        for place in {begin, *rng.choices(range(len(data)), k=rng.randrange(8))}:
            data[place] ^= rng.choice([1 << rng.randrange(8), rng.randrange(1, 256)])
    path.write_bytes(data)
    return f"{path.relative_to(directory)}: {kind} at {begin}"


def contents(source: Path, cache_dir: Path) -> list[Sample]:
    """All samples of the cache of a source, as something that can be compared."""
    cache = prepare_cache(SlipstreamDataset(source, cache_dir=cache_dir), verbose=False)
    samples = [cache[index] for index in range(len(cache))]
    return [{name: np.asarray(value).tolist() for name, value in s.items()} for s in samples]


def examine(
    kind: str, pristine: Path, expected: list[Sample], folder: Path, seed: int
) -> dict[str, Any]:
    """One run; ``failure`` tells what should not be."""
    directory, caches = folder / "data", folder / "caches"
    shutil.copytree(pristine.parent, directory)
    done, before = mutate(directory, random.Random(f"{kind} {seed}")), peak_mb()
    try:
        found = contents(directory / pristine.name, caches)
    except (LoaderError, CacheError, DecodeError) as error:
        outcome = type(error).__name__
    except Exception:  # noqa: BLE001 - whatever is no error of the library is a finding
        return {"mutation": done, "failure": traceback.format_exc()}
    else:
        outcome = "fewer samples" if len(found) < len(expected) else "other data"
        outcome = "right data" if found == expected else outcome
        if kind in _CHECKED and outcome != "right data":
            return {"mutation": done, "failure": f"{outcome}, despite the checksum"}
    finally:
        shutil.rmtree(directory)
        shutil.rmtree(caches, ignore_errors=True)
    if peak_mb() - before > _GROWTH_MB:
        return {"mutation": done, "failure": f"{peak_mb() - before:.0f} MB of memory"}
    return {"mutation": done, "outcome": outcome}


def peak_mb() -> float:
    """Memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work(kind: str, seeds: range, folder: Path, connection: Any) -> None:
    """Examine seeds, in a process that may die of it."""
    logging.disable()
    os.environ["SLIPSTREAM_CACHE_DIR"] = str(folder / "caches")
    (folder / "pristine" / "source").mkdir(parents=True)
    pristine = WRITERS[kind](folder / "pristine" / "source", make_samples())
    expected = contents(pristine, folder / "caches")
    connection.send(len(expected))
    for seed in seeds:
        faulthandler.dump_traceback_later(_TIMEOUT_S - 2)
        connection.send(examine(kind, pristine, expected, folder, seed))


def campaign(kind: str, seeds: range) -> dict[str, Any]:
    """Examine all seeds of a kind; another process takes the place of one that dies or hangs."""
    outcomes, failures = Counter[str](), []
    while seeds:
        with tempfile.TemporaryDirectory() as folder:
            connection, theirs = _SPAWN.Pipe(duplex=False)
            process = _SPAWN.Process(target=work, args=(kind, seeds, Path(folder), theirs))
            process.start()
            theirs.close()
            if not connection.poll(_START_S) or connection.recv() != _NUM_SAMPLES:
                raise RuntimeError(f"{kind}: the source as it was written cannot be read")
            for seed in seeds:
                try:
                    late = not connection.poll(_TIMEOUT_S)
                    found = {"failure": "hangs"} if late else connection.recv()
                except EOFError:
                    late, found = True, {"failure": "the process died"}
                if "failure" in found:
                    failures.append({"kind": kind, "seed": seed, **found})
                    print(json.dumps(failures[-1]), file=sys.stderr, flush=True)
                else:
                    outcomes[found["outcome"]] += 1
                seeds = range(seed + 1, seeds.stop)
                if late:
                    break
            process.join(0 if late else _TIMEOUT_S)
            process.kill()
            process.join()
    return {"outcomes": dict(outcomes.most_common()), "failures": failures}


def main() -> None:
    """Write one JSON object with what happened; exit code 1 if something was not right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=WRITERS, default=list(WRITERS))
    parser.add_argument("--runs", type=int, default=300, help="of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.runs)
    results = {kind: campaign(kind, seeds) for kind in options.kinds}
    failures = [failure for result in results.values() for failure in result["failures"]]
    outcomes = {kind: result["outcomes"] for kind, result in results.items()}
    end({"runs": len(seeds), "outcomes": outcomes, "failures": failures}, found=failures)


if __name__ == "__main__":
    main()
