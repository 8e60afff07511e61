"""How much memory a loader takes: growth of anonymous memory over two epochs, beside the bound.

    uv run python benchmarks/benchmark_memory.py PHOTOS [--batch-size 64]

The bound of the design is (batches_ahead + 2) x bytes of a batch + 150 MB, after imports and with
compiled kernels at hand: run it twice, the first run may compile. Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from slipstream_decoders import DecodeRandomResizedCrop, Normalize
from slipstream_loader import SlipstreamDataset, SlipstreamLoader

PIPELINES = {
    "uint8": [DecodeRandomResizedCrop(224)],
    "float32": [DecodeRandomResizedCrop(224), Normalize()],
}


def anonymous_bytes() -> int:
    """Anonymous memory of this process."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/smaps_rollup has no line Anonymous")


def main() -> None:
    """Measure each pipeline and print a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--batch-size", type=int, default=64)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as caches:
        dataset = SlipstreamDataset(arguments.photos, cache_dir=caches)
        for name, stages in PIPELINES.items():
            before = anonymous_bytes()
            loader = SlipstreamLoader(
                dataset, arguments.batch_size, pipelines={"image": stages}, repeats=8, seed=0
            )
            most = batch_bytes = 0
            for _ in range(2):
                for batch in loader:
                    most = max(most, anonymous_bytes())
                    batch_bytes = batch["image"].nbytes
            bound = (loader.batches_ahead + 2) * batch_bytes + 150e6
            growth = (most - before) / 1e6
            print(f"{name:8} grew by {growth:.0f} MB; the bound is {bound / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
