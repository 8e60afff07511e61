"""Uploaders that are killed, at any point: nothing half-visible, and the next one goes on.

Many more of them: ``SLIPSTREAM_TEST_KILLS=100 uv run pytest -n 0 THIS_FILE``.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from slipstream_cache import SampleCache, build, verify
from slipstream_cache.testing import MemorySource
from slipstream_loader.remote_cache import RemoteCache, fetch_cache, send_cache
from slipstream_s3sync.testing import Fault, fault_proxy

NUM_KILLS = int(os.environ.get("SLIPSTREAM_TEST_KILLS", "5"))
pytestmark = pytest.mark.timeout(48 * NUM_KILLS)

UPLOADER = """
import sys
from slipstream_cache import SampleCache
from slipstream_loader.remote_cache import RemoteCache, send_cache
cache, remote = SampleCache.open(sys.argv[1]), RemoteCache(sys.argv[2])
print("ready", flush=True)
send_cache(remote, cache, verbose=False)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SampleCache:
    """A cache of many small parts."""
    monkeypatch.setattr("slipstream_cache.layout.MAX_PART_SAMPLES", 10)
    samples = [{"data": os.urandom(2000), "label": i} for i in range(40)]
    return build(MemorySource(samples), tmp_path / "built")


def kill_uploader(cache: SampleCache, url: str, requests: list[Any], after: int) -> bool:
    """Begin an upload, and kill it after so many requests; False if it was faster."""
    known = len(requests)
    command = [sys.executable, "-c", UPLOADER, str(cache.cache_dir), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        while process.poll() is None and len(requests) < known + after:
            time.sleep(0.001)
        process.kill()
        return process.wait() != 0


def test_uploaders_that_are_killed(
    cache: SampleCache, s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader finds nothing or all of it; whoever comes next completes what is there."""
    url = f"{s3_bucket.url}/caches"
    remote = RemoteCache(url)
    num_files = sum(len(part.files) for part in cache.manifest.parts)
    points = random.Random(11)
    num_killed = 0
    with fault_proxy(s3_bucket.endpoint_url) as proxy:
        proxy.faults.append(Fault("slow", method="PUT", value=0.01))
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint_url)
        for attempt in range(NUM_KILLS):
            after = points.randint(1, 3 * num_files + 2)
            num_killed += kill_uploader(cache, url, proxy.requests, after)
            place = tmp_path / f"reader-{attempt}"
            if fetch_cache(remote, cache.key, place, verbose=False):
                assert verify(place, level="full").ok
            else:
                assert not place.exists()
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_bucket.endpoint_url)
    assert num_killed > 0
    direct = RemoteCache(url)
    send_cache(direct, cache, verbose=False)
    assert fetch_cache(direct, cache.key, tmp_path / "last", verbose=False)
    assert verify(tmp_path / "last", level="full").ok
    found = SampleCache.open(tmp_path / "last").load_batch(range(40))
    assert found["data"] == cache.load_batch(range(40))["data"]
