"""Statistics of a data set's pixels, and features of two random views of each image, as streams.

The images are decoded when a window is asked for and never held together: first for the statistics,
then again for the views that are normalised with them. Both results have the same bits for any
number of worker processes, and the features go on where a killed run stopped:

    python examples/stream_images.py --data photos --out run --workers 4
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import SampleCache
from slipstream_decoders import (
    BatchContext,
    DecodeRandomResizedCrop,
    channel_sums,
    decode_images,
    run_stages,
)
from slipstream_loader.encoded import encoded
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sample_images import write_sample_folder
from sqrtspace_streams import SqrtSpacePipeline
from sqrtspace_streams.reduction import Fold, Partial, Reduction, fold, shares
from sqrtspace_streams.resume import evaluate_resumable
from visionlab.slipstream import SlipstreamDataset

SIZE, PATCH, LEAF = 64, 8, 16


class Sum(Reduction):
    """The sum of rows."""

    def leaf(self, rows: NDArray[Any]) -> Partial:
        """Of some windows."""
        return {"sum": rows.sum(axis=0)}

    def merge(self, before: Partial, after: Partial) -> Partial:
        """Of both."""
        return {"sum": before["sum"] + after["sum"]}


def image_pipeline(cache_path: str | Path, seed: int = 0, **config: Any) -> SqrtSpacePipeline:
    """A pipeline over the samples of a cache; window t is sample t."""
    cache = SampleCache.open(cache_path)
    pipe = SqrtSpacePipeline(window=1, hop=1, **config)
    pipe.bind(np.arange(len(cache)))

    @pipe.stage("sums", batch_invariant=True)
    def sums(ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Pixels of each image, and the sums of their values and squares: exact."""
        batch = encoded(cache.payloads("image", ids[:, 0]))
        images = decode_images(batch, BatchContext(sample_ids=ids[:, 0], seed=0))
        return np.array([[i.shape[0] * i.shape[1], *channel_sums(i).ravel()] for i in images])

    def view(name: str) -> None:
        crop = DecodeRandomResizedCrop(SIZE)

        @pipe.stage(name, batch_invariant=True)
        def cropped(ids: NDArray[np.int64]) -> NDArray[np.uint8]:
            """A random crop; its box depends on the seed, the sample and the view alone."""
            context = BatchContext(sample_ids=ids[:, 0], seed=seed, view=name)
            images = run_stages(crop, encoded(cache.payloads("image", ids[:, 0])), context)
            return np.ascontiguousarray(images.numpy().transpose(0, 2, 3, 1))

    view("left")
    view("right")

    @pipe.stage("features", ["left", "right"])
    def features(
        left: NDArray[np.uint8],
        right: NDArray[np.uint8],
        *,
        mean: NDArray[np.float64],
        std: NDArray[np.float64],
    ) -> NDArray[np.float32]:
        """Normalised colours of the patches of both views."""
        views = np.stack([left, right], axis=1) / np.float32(255)
        patches = views.reshape(len(left), 2, PATCH, SIZE // PATCH, PATCH, SIZE // PATCH, 3)
        colours = patches.mean(axis=(3, 5), dtype=np.float32)
        return ((colours - mean) / std).astype(np.float32).reshape(len(left), -1)

    return pipe


def share_of_sums(cache_path: str, share: tuple[int, int]) -> list[tuple[int, int, Partial]]:
    """What one worker gives."""
    return fold(image_pipeline(cache_path), "sums", Sum(), share, leaf_windows=LEAF).nodes


def statistics(cache_path: str, num_samples: int, workers: int) -> dict[str, list[float]]:
    """Mean and standard deviation of the pixels in [0, 1], by any number of processes."""
    ranges = shares((0, num_samples), workers, LEAF)
    total = Fold(Sum(), LEAF)
    if workers == 1:
        total.extend(share_of_sums(cache_path, ranges[0]))
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            for nodes in pool.map(partial(share_of_sums, cache_path), ranges):
                total.extend(nodes)
    result = total.result()
    assert result is not None, "the data set has no images"
    count, *sums = result["sum"].tolist()
    mean = [value / (255 * count) for value in sums[:3]]
    std = [
        (count * square - value * value) ** 0.5 / (255 * count)
        for value, square in zip(sums[:3], sums[3:], strict=True)
    ]
    return {"mean": mean, "std": std}


def main() -> None:
    """Print the statistics, write the features."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of images; default: made for the purpose")
    parser.add_argument("--out", type=Path, default=Path("run"))
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    folder = arguments.data
    if folder is None:
        folder = arguments.out / "photos"
        write_sample_folder(folder, num_classes=2, images_per_class=20, seed=0)
    dataset = SlipstreamDataset(str(folder), cache_dir=str(arguments.out / "cache"))
    prepare_cache(dataset, verbose=False)
    cache_path = str(dataset.cache_path)
    stats = statistics(cache_path, len(dataset), arguments.workers)
    print(json.dumps(stats))
    params = {name: np.array(values) for name, values in stats.items()}
    pipe = image_pipeline(cache_path)
    rows = evaluate_resumable(pipe, "features", arguments.out / "features", params=params)
    print(f"{len(rows)} rows of {rows.shape[1]} features, mean {rows.mean():.4f}")


if __name__ == "__main__":
    main()
