"""Disks that are full, limited or read-only while something is written, and other people's files.

In each run a process writes a cache, seek points, planes, an index or an export where there is not
enough space: on a small file system of its own where the process may mount one (``--space disk``),
else under a limit of the size of files (``--space limit``). It must fail with a clear error and
leave nothing that could be taken for whole; what was there before must be as it was; and with more
space the same call must end with the bytes that an undisturbed run writes.

Then a cache on a read-only file system, or in a directory without permission, is read, and written
to: the first must work or be refused by a clear error, the second must be refused by one.

    python benchmarks/campaigns/full_disks.py --runs 100
"""

from __future__ import annotations

import argparse
import errno
import logging
import multiprocessing
import os
import random
import re
import resource
import shutil
import subprocess
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from outcome import end

from slipstream_cache import CacheError, SampleCache, verify, write_index
from slipstream_cache.testing import read_tree
from slipstream_decoders import DecodeRandomResizedCrop
from slipstream_loader import SlipstreamDataset, SlipstreamLoader, export_folder, write_yuv420
from slipstream_loader.errors import LoaderError
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sample_images import write_sample_folder
from slipstream_loader.seek_points import write_seek_points

_FORK = multiprocessing.get_context("fork")
_TIMEOUT_S = 120.0
_NO_SPACE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_NOBODY = 65534
_NUM_SAMPLES = 24


def cache_in(disk: Path) -> SampleCache:
    """The cache on a disk."""
    (path,) = disk.glob("slipcache-*/manifest.json")
    return SampleCache.open(path.parent)


def built(disk: Path, photos: Path) -> None:
    """Build a cache."""
    prepare_cache(SlipstreamDataset(photos, cache_dir=disk), verbose=False)


def epoch(directory: Path) -> None:
    """Decode all images of a cache."""
    stages = {"image": [DecodeRandomResizedCrop(32)]}
    loader = SlipstreamLoader(
        directory, batch_size=5, pipelines=stages, drop_last=False, verbose=False
    )
    assert sum(len(batch["label"]) for batch in loader) == _NUM_SAMPLES


WORK: dict[str, Callable[[Path, Path], Any]] = {
    "build": built,
    "seek points": lambda disk, _: write_seek_points(cache_in(disk), "image", verbose=False),
    "planes": lambda disk, _: write_yuv420(cache_in(disk), verbose=False),
    "index": lambda disk, _: write_index(cache_in(disk), "label"),
    "export": lambda disk, _: export_folder(cache_in(disk), disk / "export", verbose=False),
}
"""What needs space; all but the first need a cache on the disk."""


def in_child(work: Callable[[], Any]) -> str:
    """Do something in a process of its own; "done", or the error, or how the process died."""
    receiving, sending = _FORK.Pipe(duplex=False)

    def target() -> None:
        logging.disable(logging.CRITICAL)
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is judged by the parent
            sending.send(judged(error))
        else:
            sending.send("done")

    process = _FORK.Process(target=target)
    process.start()
    sending.close()
    try:
        found = receiving.recv() if receiving.poll(_TIMEOUT_S) else "hangs"
    except EOFError:
        found = "died"
    process.kill() if found == "hangs" else process.join(_TIMEOUT_S)
    return str(found)


def judged(error: BaseException) -> str:
    """The name of a clear error; the whole traceback of any other."""
    told = isinstance(error, (CacheError, LoaderError, PermissionError)) and "/" in str(error)
    if told or (isinstance(error, OSError) and error.errno in _NO_SPACE):
        return f"error {type(error).__name__}"
    return "".join(traceback.format_exception(error))


@contextmanager
def file_system(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def may_mount(folder: Path) -> bool:
    """Whether this process may mount file systems."""
    try:
        with file_system(folder / "try", "size=4k"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def stored(disk: Path) -> dict[str, bytes]:
    """All files but locks; the folder of an index, which has another name every time, is ``*``."""
    found = {}
    for name, data in read_tree(disk).items():
        if not name.endswith((".lock", "index/label/manifest.json")):
            found[re.sub(r"/[0-9a-f]{16}/", "/*/", name)] = data
    return found


class Campaign:
    """What an undisturbed run writes, to compare with."""

    def __init__(self, folder: Path, on_disk: bool) -> None:
        self.folder, self.on_disk = folder, on_disk
        self.photos = folder / "photos"
        write_sample_folder(self.photos, num_classes=2, images_per_class=_NUM_SAMPLES // 2, seed=0)
        self.expected: dict[str, dict[str, bytes]] = {}
        self.before = folder / "before"
        built(self.before, self.photos)
        for name, work in WORK.items():
            disk = folder / f"undisturbed {name}"
            self._lay_out(disk, name)
            work(disk, self.photos)  # in this process: its children need load no kernels
            self.expected[name] = stored(disk)
        epoch(cache_in(disk).cache_dir)  # all modules are loaded while nothing is forbidden

    def _lay_out(self, disk: Path, name: str) -> None:
        disk.mkdir(exist_ok=True)
        if name != "build":
            shutil.copytree(self.before, disk, dirs_exist_ok=True)

    def run(self, name: str, rng: random.Random) -> tuple[str, str | None]:
        """Write where there is too little space, then where there is enough."""
        disk = self.folder / "disk"
        if self.on_disk:
            with file_system(disk, "size=64m"):
                found = self._written(name, disk, rng)
        else:
            found = self._written(name, disk, rng)
            shutil.rmtree(disk)
        shutil.rmtree(disk, ignore_errors=True)
        return found

    def _written(self, name: str, disk: Path, rng: random.Random) -> tuple[str, str | None]:
        self._lay_out(disk, name)
        before, expected = stored(disk), self.expected[name]
        fresh = {file: data for file, data in expected.items() if file not in before}
        if self.on_disk:
            used = sum(-(-len(data) // 4096) * 4096 for data in before.values())
            room = rng.randrange(4096, sum(map(len, fresh.values())) + 4096)
            subprocess.run(["mount", "-o", f"remount,size={used + room}", disk], check=True)
            first = in_child(lambda: WORK[name](disk, self.photos))
        else:
            limit = rng.randrange(max(map(len, fresh.values())))
            first = in_child(lambda: self._limited(name, disk, limit))
        if first != "done" and not first.startswith("error "):
            return "", f"{name}: {first}"
        left = stored(disk)
        changed = [file for file, data in before.items() if left.get(file) != data]
        whole = [file for file in left if file.endswith("manifest.json") and file in fresh]
        if changed or (first != "done" and name != "export" and whole):
            return "", f"{name}: after {first}: changed {changed}, published {whole}"
        if self.on_disk:
            subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        if name == "export":
            shutil.rmtree(disk / "export", ignore_errors=True)
        second = in_child(lambda: WORK[name](disk, self.photos))
        if second != "done" or stored(disk) != expected:
            found = stored(disk)
            other = [file for file in {*found, *expected} if found.get(file) != expected.get(file)]
            return (
                "",
                f"{name}: {first}, and with enough space {second}, other than it was: {other}",
            )
        return f"{name}: {first}", None

    def _limited(self, name: str, disk: Path, limit: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        WORK[name](disk, self.photos)

    def read_only(self) -> dict[str, str]:
        """What a cache that may not be written to does."""
        disk = self.folder / "read-only"
        if not self.on_disk:
            return {"read-only": "left out: this process may not mount file systems"}
        with file_system(disk, "size=64m"):
            self._lay_out(disk, "index")
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            return self._attempts(disk)

    def forbidden(self) -> dict[str, str]:
        """What a cache of somebody else does."""
        disk = self.folder / "forbidden"
        self._lay_out(disk, "index")
        self.folder.chmod(0o755)
        found = {}
        for what, mode in (("not writable", 0o555), ("not readable", 0o000)):
            for directory in (disk, *disk.rglob("*/")):
                directory.chmod(mode)
            as_nobody = os.geteuid() == 0
            attempts = self._attempts(disk, as_nobody=as_nobody)
            found.update({f"{what}: {name}": result for name, result in attempts.items()})
            subprocess.run(["chmod", "-R", "u+rwx", disk], check=True)
        return found

    def _attempts(self, disk: Path, as_nobody: bool = False) -> dict[str, str]:
        (manifest,) = self.before.glob("slipcache-*/manifest.json")
        directory = disk / manifest.parent.name

        def checked() -> None:
            if not verify(directory).ok:
                raise CacheError(f"{directory}: problems")

        work = {
            "epoch": lambda: epoch(directory),
            "verify": checked,
            "index": lambda: write_index(SampleCache.open(directory), "label"),
            "seek points": lambda: write_seek_points(
                SampleCache.open(directory), "image", verbose=False
            ),
        }

        def attempted(do: Callable[[], Any]) -> None:
            if as_nobody:
                os.setuid(_NOBODY)
            do()

        return {name: in_child(lambda do=do: attempted(do)) for name, do in work.items()}  # type: ignore[misc]


def main() -> None:
    """Write one JSON object with what happened; exit code 1 if something was not right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--space", choices=("disk", "limit"))
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    outcomes, failures, rng = Counter[str](), [], random.Random(options.seed)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        on_disk = may_mount(folder) if options.space is None else options.space == "disk"
        campaign = Campaign(folder, on_disk)
        for number in range(options.runs):
            outcome, failure = campaign.run(list(WORK)[number % len(WORK)], rng)
            outcomes[outcome] += not failure
            failures += [failure] if failure else []
        places = {"read-only": campaign.read_only(), "forbidden": campaign.forbidden()}
    for place, found in places.items():
        for name, result in found.items():
            if result != "done" and not result.startswith(("error ", "left out")):
                failures.append(f"{place}: {name}: {result}")
            if result == "done" and not name.endswith(("epoch", "verify")):
                failures.append(f"{place}: {name} is done, though it may not be written")
    report = {
        "runs": options.runs,
        "space": "disk" if on_disk else "limit",
        "outcomes": dict(sorted(outcomes.items())),
        **places,
        "failures": failures,
    }
    end(report, found=failures)


if __name__ == "__main__":
    main()
