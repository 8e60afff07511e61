"""list_collate_fn: batches for torch's own DataLoader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from slipstream_loader import SlipstreamDataset, list_collate_fn
from slipstream_loader.sample_images import write_sample_folder


def test_values_become_what_they_can() -> None:
    """Numbers a tensor, one shape a stack, all else lists; dtypes are kept."""
    samples = [
        {
            "int": n,
            "float": n / 2,
            "bool": n > 1,
            "scalar": np.float16(n),
            "array": np.full((2, 3), n, np.int16),
            "tensor": torch.full((4,), n, dtype=torch.uint8),
            "ragged": torch.zeros(n + 1),
            "ragged array": np.zeros((n + 1, 2)),
            "text": str(n),
            "bytes": bytes(n),
            "mixed": n if n else None,
            "image": Image.new("RGB", (n + 1, 2)),
        }
        for n in range(3)
    ]
    batch = list_collate_fn(samples)
    assert list(batch) == list(samples[0])
    assert torch.equal(batch["int"], torch.tensor([0, 1, 2]))
    assert torch.equal(batch["float"], torch.tensor([0, 0.5, 1], dtype=torch.float64))
    assert torch.equal(batch["bool"], torch.tensor([False, False, True]))
    assert batch["scalar"].dtype == torch.float16
    assert (batch["array"].shape, batch["array"].dtype) == ((3, 2, 3), torch.int16)
    assert (batch["tensor"].shape, batch["tensor"].dtype) == ((3, 4), torch.uint8)
    for name in ("ragged", "ragged array", "text", "bytes", "mixed", "image"):
        assert [id(value) for value in batch[name]] == [id(sample[name]) for sample in samples]


def test_tuples_and_bare_values_keep_their_form() -> None:
    """A sample need not be a dict."""
    numbers, names = list_collate_fn([(1, "a"), (2, "b")])
    assert torch.equal(numbers, torch.tensor([1, 2]))
    assert names == ["a", "b"]
    assert list_collate_fn(["a", "b"]) == ["a", "b"]
    assert torch.equal(list_collate_fn([1.5, 2]), torch.tensor([1.5, 2], dtype=torch.float64))


def test_samples_that_do_not_match_are_refused() -> None:
    """No samples, other fields, tuples of other lengths."""
    for batch in ([], [{"a": 1}, {"b": 1}], [(1, 2), (1,)]):
        with pytest.raises(ValueError, match=r"batch|fields|lengths"):
            list_collate_fn(batch)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("to_pil", [True, False])
def test_torchs_loader_with_workers(to_pil: bool, tmp_path: Path) -> None:
    """A data set in two worker processes gives every sample, in order, images of their own size."""
    write_sample_folder(tmp_path / "photos", num_classes=2, images_per_class=3, seed=0)
    dataset = SlipstreamDataset(tmp_path / "photos", decode_images=True, to_pil=to_pil)
    loader = DataLoader(
        dataset,
        batch_size=4,
        num_workers=2,
        collate_fn=list_collate_fn,
        multiprocessing_context="spawn",
    )
    batches = list(loader)
    assert [len(batch["image"]) for batch in batches] == [4, 2]
    assert torch.cat([batch["label"] for batch in batches]).tolist() == [0, 0, 0, 1, 1, 1]
    images = [image for batch in batches for image in batch["image"]]
    for number, image in enumerate(images):
        expected = dataset[number]["image"]
        if to_pil:
            assert image.tobytes() == expected.tobytes()
        else:
            assert torch.equal(image, expected)
    assert [path for batch in batches for path in batch["path"]] == [
        dataset[number]["path"] for number in range(6)
    ]
