"""One recording, the four stages of ``demo audio``, and five ways to get its rows.

Each run is a fresh process with one BLAS thread that measures itself behind its imports; runs take
turns. All use the very same functions; what differs is who cuts the windows and holds the rows.

    python bench/bench_peers.py --windows 8000 --rounds 5

- ``numpy``: everything at once, stage by stage.
- ``blocks``: a loop over blocks of 16 windows that overlap, in the manner of ``librosa.stream``.
- ``dask``: ``dask.array.map_overlap`` over chunks of 256 windows, on threads.
- ``torch``: an IterableDataset of windows behind a DataLoader with batches of 16.
- ``auto``: this package, as its plan says.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sqrtspace_streams import baselines, stages
from sqrtspace_streams.demos import audio
from sqrtspace_streams.metrics import Meter, Usage, run_child
from sqrtspace_streams.report import is_equivalent

WINDOW, HOP, BLOCK, CHUNK = audio.DEMO.window, audio.DEMO.hop, 16, 256
Array = np.ndarray


def rows_of(windows: Array) -> Array:
    """The four stages over some windows."""
    band = stages.bandpass(stages.fft(windows), **audio.BAND, window=WINDOW)
    return np.asarray(CLASSIFY(stages.features(band)))


CLASSIFY = baselines.classifier()


def windows_in(x: Array) -> Array:
    """Overlapping windows of samples, not copied."""
    return np.lib.stride_tricks.sliding_window_view(x, WINDOW)[::HOP]


def by_numpy(path: Path) -> Array:
    """The plain baseline."""
    return audio.DEMO.plain(path, window=WINDOW, hop=HOP)


def by_blocks(path: Path) -> Array:
    """Read a block and what overlaps the next one, compute, append."""
    x, rows = np.load(path, mmap_mode="r"), []
    for start in range(0, len(x) - WINDOW + 1, BLOCK * HOP):
        piece = np.array(x[start : start + (BLOCK - 1) * HOP + WINDOW])
        rows.append(rows_of(windows_in(piece)))
    return np.concatenate(rows)


def by_dask(path: Path) -> Array:
    """A chunk gets the samples behind it that its last windows need."""
    import dask.array as da

    x = np.load(path, mmap_mode="r")
    array = da.from_array(x, chunks=CHUNK * HOP)
    behind = WINDOW - HOP
    sizes = [
        min(size, max(len(x) - i * CHUNK * HOP - behind, 0)) // HOP
        for i, size in enumerate(array.chunks[0])
    ]
    rows = da.map_overlap(
        lambda piece: (
            rows_of(windows_in(piece)) if len(piece) >= WINDOW else np.empty((0, 4), "f4")
        ),
        array,
        depth={0: (0, behind)},
        boundary="none",
        trim=False,
        meta=np.empty((0, 4), np.float32),
        chunks=(tuple(sizes), (baselines.NUM_CLASSES,)),
        new_axis=1,
    )
    return np.asarray(rows.compute())


def by_torch(path: Path) -> Array:
    """A window is an item; the loader makes batches of them."""
    import torch
    from torch.utils.data import DataLoader, IterableDataset

    class Windows(IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[Any]:
            x = np.load(path, mmap_mode="r")
            for start in range(0, len(x) - WINDOW + 1, HOP):
                yield torch.from_numpy(np.array(x[start : start + WINDOW]))

    batches = DataLoader(Windows(), batch_size=BLOCK)
    return np.concatenate([rows_of(batch.numpy()) for batch in batches])


def by_auto(path: Path) -> Array:
    """The pipeline."""
    pipe = audio.pipeline(window=WINDOW, hop=HOP)
    pipe.bind(path)
    return pipe.evaluate(audio.TARGET, params=audio.params(WINDOW))


WAYS: dict[str, Callable[[Path], Array]] = {
    "numpy": by_numpy,
    "blocks": by_blocks,
    "dask": by_dask,
    "torch": by_torch,
    "auto": by_auto,
}
_IMPORTS = {"dask": "dask.array", "torch": "torch.utils.data"}


def run_here(way: str, source: str, out: str) -> None:
    """Measure one run in this process; print it as JSON."""
    if way in _IMPORTS:
        __import__(_IMPORTS[way])
    with Meter() as meter:
        rows = WAYS[way](Path(source))
    np.save(out, rows)
    digest = hashlib.sha256(f"{rows.dtype}{rows.shape}".encode() + rows.tobytes()).hexdigest()
    sys.stdout.write(json.dumps({"usage": meter.usage.to_json(), "digest": digest}))


def main() -> None:
    """Run all ways in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    found: dict[str, list[Usage]] = {way: [] for way in WAYS}
    digests, rows = {}, {}
    with tempfile.TemporaryDirectory(prefix="sqrtspace-") as folder:
        source = Path(folder) / "recording.npy"
        audio.DEMO.write(source, audio.DEMO.size_of(options.windows, WINDOW, HOP))
        for number in range(options.rounds):
            for way in list(WAYS) if number % 2 == 0 else list(WAYS)[::-1]:
                out = Path(folder) / f"{way}.npy"
                printed = json.loads(
                    run_child("bench_peers", ["--run", way, str(source), str(out)])
                )
                found[way].append(Usage.from_json(printed["usage"]))
                digests[way], rows[way] = printed["digest"], np.load(out)
    print("| way | peak MB | above imports | minor faults | processor s | wall s | rows |")
    print("|---|---|---|---|---|---|---|")
    for way, usages in found.items():
        same = digests[way] == digests["auto"]
        equal = "equal bytes" if same else "equal to rounding"
        verdict = equal if is_equivalent(rows[way], rows["auto"]) else "DIFFERENT"
        columns = [
            f"{np.median([u.peak_bytes for u in usages]) / 1e6:.0f}",
            f"{np.median([u.peak_bytes - u.floor_bytes for u in usages]) / 1e6:.0f}",
            f"{np.median([u.minor_faults or 0 for u in usages]):.0f}",
            _spread([u.cpu_seconds for u in usages]),
            _spread([u.seconds for u in usages]),
            verdict,
        ]
        print(f"| {way} | {' | '.join(columns)} |")


def _spread(values: list[float]) -> str:
    return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run_here(*sys.argv[2:])
    else:
        main()
