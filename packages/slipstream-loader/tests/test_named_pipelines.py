"""Pipelines by name, and contact sheets of what they make."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream_cache import SampleCache
from slipstream_decoders import (
    DecodeCenterCrop,
    DecodeRandomResizedCrop,
    MultiCropPipeline,
    Normalize,
)
from slipstream_loader import SlipstreamDataset, named_pipelines
from slipstream_loader.named_pipelines import named_pipeline
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sample_images import write_sample_folder
from slipstream_loader.sample_sheet import spread_ids, write_sheet


def of_one_field() -> dict[str, Any]:
    return {"image": [DecodeCenterCrop(8), Normalize()]}


def of_a_stage() -> Any:
    return DecodeCenterCrop(8)


def of_two_fields() -> dict[str, Any]:
    return {"image": [], "mask": []}


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three pipelines as another package would register them."""
    points = [
        EntryPoint(name, f"{__name__}:{name}", named_pipelines.GROUP)
        for name in ("of_one_field", "of_a_stage", "of_two_fields")
    ]
    functions = {name: globals()[name] for name in ("of_one_field", "of_a_stage", "of_two_fields")}
    monkeypatch.setattr(EntryPoint, "load", lambda point: functions[point.name])
    monkeypatch.setattr(named_pipelines, "entry_points", lambda group: points)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> SampleCache:
    """Six photos."""
    folder = tmp_path_factory.mktemp("named")
    write_sample_folder(folder / "photos", num_classes=2, images_per_class=3, seed=1)
    opened: SampleCache = prepare_cache(
        SlipstreamDataset(folder / "photos", cache_dir=folder / "caches")
    )
    return opened


@pytest.mark.usefixtures("registered")
def test_packages_register_pipelines() -> None:
    """A mapping of one field, stages or one stage; built-in names come first."""
    decode, normalize = named_pipeline("of_one_field")
    assert isinstance(decode, DecodeCenterCrop)
    assert isinstance(normalize, Normalize)
    assert isinstance(named_pipeline("of_a_stage")[0], DecodeCenterCrop)
    assert named_pipeline("raw") == []
    assert isinstance(named_pipeline("rrc")[0], DecodeRandomResizedCrop)
    with pytest.raises(TypeError, match=r"fields \['image', 'mask'\], expected one"):
        named_pipeline("of_two_fields")
    with pytest.raises(LookupError, match=r"no pipeline 'rcc'; there are raw, .*of_one_field"):
        named_pipeline("rcc")


def test_without_presets_their_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for simclr without the package is told what to install."""
    monkeypatch.setattr(named_pipelines, "entry_points", lambda group: [])
    with pytest.raises(LookupError, match="visionlab-slipstream-ssl-pipelines"):
        named_pipeline("simclr")


def test_views_stand_side_by_side(cache: SampleCache, tmp_path: Path) -> None:
    """Every view of a sample in one row, as many samples beside each other as fit."""
    views = MultiCropPipeline(
        {f"view_{i}": [DecodeRandomResizedCrop(16), Normalize()] for i in range(3)}
    )
    write_sheet(cache, spread_ids(len(cache)), [views], tmp_path / "views.png")
    write_sheet(cache, [0, 1], None, tmp_path / "whole.png")
    with Image.open(tmp_path / "views.png") as sheet, Image.open(tmp_path / "whole.png") as two:
        assert (sheet.width - 8) // 168 == 6
        assert (two.width - 8) // 168 == 2
        assert sheet.height > 2 * two.height


def test_normalised_views_are_shown_in_their_colours(cache: SampleCache, tmp_path: Path) -> None:
    """A normalised image looks as the image does."""
    pixels = []
    for number, stages in enumerate(([], [Normalize()], [Normalize(dtype=torch.float16)])):
        path = tmp_path / f"{number}.png"
        write_sheet(cache, [2], [DecodeCenterCrop(160), *stages], path)
        with Image.open(path) as sheet:
            pixels.append(torch.from_numpy(np.asarray(sheet).astype(np.float32)))
    for other in pixels[1:]:
        assert (other - pixels[0]).abs().max() <= 2
