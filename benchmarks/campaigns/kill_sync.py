"""Kills uploads and downloads of a shared cache at random moments, and does them again.

In each run processes that upload a cache to an S3 server of this machine are killed, one after
another, and the last is left to finish; then the same with downloads. After each kill somebody else
must find no cache there or the whole cache, and in the end both sides must have the same bytes.
With ``--orphans`` the s5cmd of a killed process lives on, as when a single process is killed by
hand, and still writes while the next attempt works.

    python benchmarks/campaigns/kill_sync.py --runs 200

An interrupt ends it after the runs that are done.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from outcome import end

from slipstream_cache import SampleCache, layout, verify
from slipstream_loader import SlipstreamDataset
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.remote_cache import RemoteCache, fetch_additions, fetch_cache, sync_cache
from slipstream_loader.sample_images import write_sample_folder
from slipstream_loader.seek_points import write_seek_points

_FORK = multiprocessing.get_context("fork")
_SPAWN = multiprocessing.get_context("spawn")
_TIMEOUT_S = 200.0
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def serve(connection: Any) -> None:
    """An S3 server with one bucket; tells its address."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket="caches")
    connection.send(url)
    connection.recv()


def files(directory: Path) -> dict[str, bytes]:
    """The manifest and the parts of a cache."""
    paths = [directory / "manifest.json", *sorted(directory.glob("part-?????/*"))]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def names(directory: Path) -> set[str]:
    """All files of a cache but the manifests of additions, which are replaced by temporary ones."""
    paths = {path.relative_to(directory) for path in directory.rglob("*") if path.is_file()}
    manifests = {path for path in paths if path.parts[0] == "derived" and len(path.parts) == 3}
    return {path.as_posix() for path in paths - manifests if path.suffix != ".lock"}


def download(remote: RemoteCache, key: str, directory: Path) -> None:
    """Fetch a cache that must be there, and its additions."""
    assert fetch_cache(remote, key, directory, verbose=False), "there is no cache"
    fetch_additions(remote, SampleCache.open(directory))


def attempt(work: Callable[[], Any], seconds: float | None, *, orphans: bool = False) -> bool:
    """Do something in a process, which is killed after some seconds; whether it was done."""

    def alone() -> None:
        os.setsid()
        work()

    process = _FORK.Process(target=alone)
    process.start()
    try:
        process.join(_TIMEOUT_S if seconds is None else seconds)
    finally:
        if not orphans:
            with suppress(ProcessLookupError):  # it has ended with all its children, or not begun
                os.killpg(process.pid or 0, signal.SIGKILL)
        process.kill()
        process.join()
    return process.exitcode == 0


class Campaign:
    """A cache, and a place on the server for each run."""

    def __init__(self, folder: Path, endpoint_url: str, orphans: bool) -> None:
        self.folder, self.endpoint_url, self.orphans = folder, endpoint_url, orphans
        layout.MAX_PART_SAMPLES = 6  # type: ignore[misc]
        write_sample_folder(folder / "photos", num_classes=2, images_per_class=15, seed=0)
        self.cache = prepare_cache(SlipstreamDataset(folder / "photos", cache_dir=folder))
        write_seek_points(self.cache, "image", verbose=False)
        self.expected = files(self.cache.cache_dir)
        assert len(self.expected) > 20
        self.outcomes: Counter[str] = Counter()
        remote = self._remote()
        self.upload_s = self._timed(lambda: sync_cache(remote, self.cache))
        self.download_s = self._timed(lambda: download(remote, self.cache.key, folder / "first"))

    def _remote(self) -> RemoteCache:
        return RemoteCache(f"s3://caches/{uuid.uuid4().hex}", self.endpoint_url, strict=True)

    def _timed(self, work: Callable[[], Any]) -> float:
        began = time.monotonic()
        assert attempt(work, None), "a transfer failed that nobody killed"
        return time.monotonic() - began

    def run(self, rng: random.Random) -> str | None:
        """Uploads and downloads with kills; what went wrong."""
        remote, place = self._remote(), self.folder / "downloaded"
        shutil.rmtree(place, ignore_errors=True)

        def sent() -> Any:
            return sync_cache(remote, self.cache)

        def fetched() -> None:
            download(remote, self.cache.key, place)

        for _ in range(rng.randrange(1, 3)):
            done = attempt(sent, rng.uniform(0, self.upload_s), orphans=self.orphans)
            problem = self._look_elsewhere(remote, done)
            if problem:
                return problem
        if not attempt(sent, None):
            return "an upload that nobody killed failed"
        for _ in range(rng.randrange(1, 3)):
            done = attempt(fetched, rng.uniform(0, self.download_s), orphans=self.orphans)
            is_there = (place / "manifest.json").exists()
            self.outcomes[f"download {'done' if done else 'killed'}, cache there: {is_there}"] += 1
            if is_there and self._differences(place):
                return "a download that was killed left a cache that is not whole"
        if not attempt(fetched, None):
            return "a download that nobody killed failed"
        problems = self._differences(place)
        if problems:
            return f"the download is not the cache: {problems}"
        if left := names(place) - names(self.cache.cache_dir):
            return f"killed downloads have left files in the cache: {sorted(left)}"
        beside = {path.name for path in self.folder.glob(f"{place.name}*")}
        if left := beside - {place.name, f"{place.name}.lock"}:
            return f"killed downloads have left files beside the cache: {sorted(left)}"
        return None

    def _differences(self, directory: Path) -> list[str]:
        """Files with other bytes, and what ``verify`` says."""
        found = files(directory)
        other = [name for name, data in self.expected.items() if found.get(name) != data]
        return other + [str(problem) for problem in verify(directory, level="full").problems]

    def _look_elsewhere(self, remote: RemoteCache, done: bool) -> str | None:
        """What somebody else finds after an upload was killed."""
        other = self.folder / "elsewhere"
        shutil.rmtree(other, ignore_errors=True)
        found = fetch_cache(remote, self.cache.key, other, verbose=False)
        self.outcomes[f"upload {'done' if done else 'killed'}, cache there: {found}"] += 1
        if done and not found:
            return "an upload was done, and nobody finds the cache"
        if found and self._differences(other):
            return "somebody else found a cache that is not whole"
        return None


def main() -> None:
    """Write one JSON object; exit code 1 if somebody saw half a cache or bytes differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--orphans", action="store_true", help="kill no children")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    os.environ.update(_ENVIRONMENT)
    rng, failures, done = random.Random(options.seed), [], 0
    ours, theirs = _SPAWN.Pipe()
    server = _SPAWN.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    endpoint_url = ours.recv()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), endpoint_url, options.orphans)
        with suppress(KeyboardInterrupt):
            for run in range(options.runs):
                problem = campaign.run(rng)
                done += 1
                if problem:
                    failures.append({"run": run, "problem": problem})
                    print(failures[-1], file=sys.stderr, flush=True)
    ours.send(None)
    server.join(10)
    result = {
        "runs": done,
        "seconds": {"upload": campaign.upload_s, "download": campaign.download_s},
        "outcomes": dict(sorted(campaign.outcomes.items())),
        "failures": failures,
    }
    end(result, found=failures)


if __name__ == "__main__":
    main()
