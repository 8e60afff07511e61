"""The documents that users were promised run from top to bottom, in one process, as written.

Nothing is changed but string literals: places of data, the address of the S3 server, and the
device, where there is no CUDA device.
"""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipstream_loader import SlipstreamDataset
from slipstream_loader.exports.beton import export_beton
from slipstream_loader.prepare import prepare_cache

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LITERALS = {
    "cuda": "{device}",
    "s3://data-bucket/imagenet/train/": "{s3}/chunks/",
    "s3://bucket/imagenet/train/": "{s3}/chunks/",
    "s3://bucket/litdata-dataset/": "{s3}/chunks/",
    "s3://bucket/imagenet/train.tar.gz": "{s3}/train.tar.gz",
    "s3://bucket/imagenet.ffcv": "{s3}/imagenet.ffcv",
    "s3://lab-bucket/slipstream-caches/": "{s3}/slipstream-caches/",
    "s3://my-bucket/caches/": "{s3}/caches/",
    "https://s3.wasabisys.com": "{endpoint}",
    "/data/imagenet/train": "{folder}/train",
    "/data/imagenet.ffcv": "{folder}/imagenet.ffcv",
    "hf://datasets/cifar10": "{folder}/tables",
    "s3://visionlab-datasets/imagenet1k/pre-processed/s256-l512-jpgbytes-q100-streaming/val/": (
        "{s3}/chunks/"
    ),
}
"""The only changes: literal -> literal."""
ASSUMED = """
import torch
from slipstream import SlipstreamDataset, SlipstreamLoader
from slipstream.pipelines import supervised_train
dataset = train_dataset = val_dataset = SlipstreamDataset("{s3}/chunks/")
assert len(dataset) == 260

def remote_files(prefix):
    import boto3

    client, bucket = boto3.client("s3"), "{s3}".removeprefix("s3://")
    listed = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for page in listed for item in page.get("Contents", [])]
"""
"""What each section of the guide takes for granted; the notebook takes nothing."""
CHECKS = {
    "sync_remote_cache()": """
found = [key.split("/")[-1] for key in remote_files("slipstream-caches/")]
assert "manifest.json" in found and any("index/label" in key for key in remote_files("")), found
""",
    "crops = [batch[": """
assert [tuple(v.shape) for v in (view1, view2)] == [(256, 3, 224, 224)] * 2
assert [tuple(crop.shape) for crop in crops] == [(256, 3, 224, 224)] * 5
assert [view.shape[-1] for view in (*global_views, *local_views)] == [224] * 2 + [98] * 4
batch = next(iter(loader))
assert [name for name in batch if name[:5] in ("globa", "local")] == [
    "global_0", "global_1", *(f"local_{i}" for i in range(6))]
""",
    'image_format="yuv420",  # Default': "assert next(iter(loader))['image'].mean().abs() < 3",
    "# S3 streaming (LitData format)": "assert len(dataset) == 20  # the last one is the table",
    "NamedCopies(['view1', 'view2'])": """
assert v1.shape == v2.shape == (256, 3, 224, 224)
assert not torch.equal(v1, v2)
""",
    "val_pipelines = {": """
for each in (train_loader, val_loader):
    assert next(iter(each))["image"].shape == (256, 3, 224, 224)
""",
    "stats_200 =": """
assert np.allclose(stats_200["mean"], ref_mean, rtol=1e-9)
assert np.allclose(stats_200["std"], ref_std, rtol=1e-6)
""",
    "stats_yuv =": "assert mean_diff.max() < 0.01 and std_diff.max() < 0.01",
    "planes = batch['image']": """
assert len(planes) == len(yuv_images) == 8
assert y.shape == yuv_images[0].shape[:2] and u.shape == v.shape
""",
    "rgb_roundtrip =": "assert len(rgb_images) == 8 and diff.max() <= 1",
    "sync_s3_dataset(LITDATA_VAL_PATH)": "assert local_path == local_dir and local_dir.exists()",
}
"""Text of a fence -> what holds after it."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """260 small photos as a folder, LitData chunks, an archive, a table and a file of FFCV."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from litdata.streaming.writer import BinaryWriter

    here = tmp_path_factory.mktemp("documents")
    generator = np.random.default_rng(0)
    writer = BinaryWriter(cache_dir=str(here / "chunks"), chunk_size=100)
    rows = []
    for number in range(260):
        coarse = generator.integers(0, 256, (6, 8, 3), np.uint8)
        image = Image.fromarray(coarse).resize((96, 72), Image.Resampling.BICUBIC)
        path = here / "train" / f"class_{number % 4}" / f"{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=90)
        sample = {"image": path.read_bytes(), "label": number % 4, "path": path.name}
        writer.add_item(number, sample)
        if number < 20:
            rows.append({"img": {"bytes": sample["image"], "path": path.name}, "label": number})
    writer.done()
    writer.merge()
    with tarfile.open(here / "train.tar.gz", "w:gz") as archive:
        archive.add(here / "train", "train")
    (here / "tables").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), here / "tables" / "train.parquet")
    small = SlipstreamDataset(here / "train", cache_dir=here / "caches")
    export_beton(prepare_cache(small), here / "imagenet.ffcv", fields=["image", "label"])
    return here


def changed(code: str, values: dict[str, str], used: set[str]) -> str:
    """Code with the literals of the table changed."""

    class Change(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.Constant:
            if isinstance(node.value, str) and node.value in LITERALS:
                used.add(node.value)
                node.value = LITERALS[node.value].format(**values)
            return node

    return ast.unparse(Change().visit(ast.parse(code)))


@pytest.mark.parametrize("name", ["advanced_usage", "statistics_notebook"])
def test_the_code_of_a_document_runs(
    name: str, data: Path, tmp_path: Path, s3_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fence, in order; shapes and numbers are those that the comments promise."""
    import torch

    for part in ("chunks", "train.tar.gz", "imagenet.ffcv"):
        path = data / part
        if path.is_dir():
            s3_bucket.put_folder(path, part)
        else:
            s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=part, Body=path.read_bytes())
    values = {
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "s3": s3_bucket.url,
        "endpoint": s3_bucket.endpoint_url,
        "folder": str(data),
    }
    assumed = ASSUMED.format(**values) if name == "advanced_usage" else ""
    script, used = io.StringIO(), set[str]()
    for section in (HERE / f"{name}.md").read_text("utf-8").split("\n## "):
        script.write(assumed)
        for code in FENCE.findall(section):
            script.write(f"{changed(code, values, used)}\n")
            script.writelines(f"{check}\n" for text, check in CHECKS.items() if text in code)
    path = tmp_path / f"{name}.py"
    path.write_text(script.getvalue(), "utf-8")
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "caches"))
    run = subprocess.run(
        [sys.executable, str(path)],
        env={**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert run.returncode == 0, f"{path}:\n{run.stdout[-1000:]}\n{run.stderr[-3000:]}"


def test_the_table_has_nothing_to_spare() -> None:
    """Every literal of the table, and the text of every check, is in a document."""
    texts = [
        (HERE / f"{name}.md").read_text("utf-8")
        for name in ("advanced_usage", "statistics_notebook")
    ]
    used: set[str] = set()
    for text in texts:
        for code in FENCE.findall(text):
            changed(code, {"device": "", "s3": "", "endpoint": "", "folder": ""}, used)
    assert used == set(LITERALS)
    assert all(any(check in text for text in texts) for check in CHECKS)
