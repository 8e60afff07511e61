"""A source on a disk that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import gettempdir

import pytest

from slipstream_loader.sample_images import write_sample_folder

SCRIPT = """
import os, sys
from slipstream_loader import SlipstreamDataset
from slipstream_loader.prepare import prepare_cache
if os.getuid() == 0:
    os.chown(sys.argv[2], 65534, 65534)
    os.seteuid(65534)
assert not os.access(sys.argv[1], os.W_OK, effective_ids=True)
cache = prepare_cache(SlipstreamDataset(sys.argv[1], cache_dir=sys.argv[2]), verbose=False)
assert len(cache) == 6
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
@pytest.mark.timeout(120)
def test_a_read_only_source_is_only_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A folder without the right to write is built from, and nothing in it changes."""
    base = tmp_path_factory.mktemp("read-only")
    source, caches = base / "photos", base / "caches"
    write_sample_folder(source, num_classes=2, images_per_class=3, seed=0)
    caches.mkdir()
    everything = [source, *source.rglob("*")]
    for folder in (base, *base.parents):
        if Path(gettempdir()) in folder.parents:
            folder.chmod(0o755)
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in everything}
    try:
        command = [sys.executable, "-c", SCRIPT, str(source), str(caches)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert run.returncode == 0, run.stderr
        assert {path: path.stat().st_mtime_ns for path in [source, *source.rglob("*")]} == before
    finally:
        for path in everything:
            path.chmod(0o755)
