"""Presets: their recipes, and what comes of them."""

from __future__ import annotations

import copy
import io
import pickle
from importlib.metadata import entry_points
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream_decoders import (
    BatchContext,
    DecodeDirectRandomResizedCrop,
    DecodeOnly,
    DecodeRandomResizedCrop,
    DecodeResizeCrop,
    MultiCropPipeline,
    run_stages,
)
from slipstream_ssl_pipelines import PRESETS, Preset, Recipe, describe, simclr, supervised_train
from slipstream_ssl_pipelines.presets.recipe import Step, View
from slipstream_ssl_pipelines.transforms import CircularMask, RandomTransform, ToOneHot

# Written down from the papers and the earlier recipes, apart from the code: crop (size, scale,
# ratio), then what follows by name: p, and for jitter (brightness, contrast, saturation, hue), for
# blur the kernel.
TORCHVISION = ((0.08, 1), (3 / 4, 4 / 3))
STRONG, WEAK = (0.8, 0.4, 0.4, 0.4, 0.1), (0.8, 0.4, 0.4, 0.2, 0.1)
INSTANCE = {"flip": 0.5, "jitter": STRONG, "gray": 0.2, "solarize": 0.2, "blur": (0.2, 7)}
COLORS = {"flip": 0.5, "jitter": WEAK, "gray": 0.2}
ASYMMETRIC = {
    "view_0": {**COLORS, "blur": (1.0, 13)},
    "view_1": {**COLORS, "blur": (0.1, 13), "solarize": 0.2},
}
LARGE, SMALL = (224, (0.3, 1), (1, 1)), (98, (0.05, 0.3), (1, 1))
EXPECTED: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "supervised_train": {"image": ((224, *TORCHVISION), {"flip": 0.5})},
    "supervised_val": {"image": ((256, 224), {})},
    "mae": {"image": ((224, (0.2, 1), (3 / 4, 4 / 3)), {"flip": 0.5})},
    "ijepa": {"image": ((224, (0.3, 1), (3 / 4, 4 / 3)), {})},
    "simclr": {
        f"view_{i}": (
            (224, *TORCHVISION),
            {"flip": 0.5, "jitter": STRONG, "gray": 0.2, "blur": (0.5, 7)},
        )
        for i in range(2)
    },
    "simclr_standard": {
        "view_0": (
            (224, *TORCHVISION),
            {"flip": 0.5, "jitter": STRONG, "gray": 0.2, "blur": (1.0, 7)},
        ),
        "view_1": (
            (224, *TORCHVISION),
            {"flip": 0.5, "jitter": STRONG, "gray": 0.2, "solarize": 0.2},
        ),
    },
    "ipcl": {f"crop_{i}": ((224, (0.2, 1), (1, 1)), INSTANCE) for i in range(5)},
    "lejepa": {
        **{f"global_{i}": (LARGE, INSTANCE) for i in range(2)},
        **{f"local_{i}": (SMALL, INSTANCE) for i in range(4)},
    },
    "multicrop": {
        **{f"global_{i}": (LARGE, INSTANCE) for i in range(2)},
        **{f"local_{i}": (SMALL, INSTANCE) for i in range(4)},
    },
    "byol": {
        "view_0": ((224, *TORCHVISION), {**COLORS, "blur": (1.0, 23)}),
        "view_1": ((224, *TORCHVISION), {**COLORS, "blur": (0.1, 23), "solarize": 0.2}),
    },
    "mocov3": {name: ((224, *TORCHVISION), ending) for name, ending in ASYMMETRIC.items()},
    "barlow_twins": {name: ((224, *TORCHVISION), ending) for name, ending in ASYMMETRIC.items()},
    "vicreg": {
        f"view_{i}": ((224, *TORCHVISION), {**COLORS, "blur": (0.5, 23), "solarize": 0.1})
        for i in range(2)
    },
    "dino": {
        "global_0": ((224, (0.4, 1), (3 / 4, 4 / 3)), {**COLORS, "blur": (1.0, 13)}),
        "global_1": (
            (224, (0.4, 1), (3 / 4, 4 / 3)),
            {**COLORS, "blur": (0.1, 13), "solarize": 0.2},
        ),
        **{
            f"local_{i}": ((96, (0.05, 0.4), (3 / 4, 4 / 3)), {**COLORS, "blur": (0.5, 13)})
            for i in range(8)
        },
    },
}
BATCH = 5


@pytest.fixture(scope="module")
def payloads() -> list[bytes]:
    """JPEG files of smooth colours."""
    generator = np.random.default_rng(0)
    files = []
    for _ in range(BATCH):
        coarse = generator.integers(0, 256, (5, 7, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(coarse).resize((100, 80), Image.Resampling.BICUBIC).save(file, "jpeg")
        files.append(file.getvalue())
    return files


def run(
    preset: Preset, payloads: list[bytes], rows: slice = slice(None), seed: int = 1
) -> dict[str, torch.Tensor]:
    """Views and labels of some samples."""
    context = BatchContext(np.arange(BATCH)[rows], seed=seed)
    made = run_stages(preset["image"], payloads[rows], context)
    return {**(made if isinstance(made, dict) else {"image": made}), **context.labels}


def written(view: View) -> tuple[Any, dict[str, Any]]:
    """A view of a recipe in the form of ``EXPECTED``."""
    names = {
        "RandomHorizontalFlip": "flip",
        "RandomColorJitterHSV": "jitter",
        "RandomGrayscale": "gray",
        "RandomGaussianBlur": "blur",
        "RandomSolarization": "solarize",
    }
    found: dict[str, Any] = {}
    for step in view.transforms:
        options = step.options
        name = names[step.stage.__name__]
        found[name] = options["p"]
        if name == "jitter":
            order = ("p", "value", "contrast", "saturation", "hue")
            found[name] = tuple(options[key] for key in order)
        elif name == "blur":
            assert options["sigma_range"] == (0.1, 2.0)
            found[name] = (options["p"], options["kernel_size"])
        elif name == "solarize":
            assert options["threshold"] == 0.5
    return tuple(view.crop.options.values()), found


@pytest.mark.parametrize("name", PRESETS)
def test_recipes_are_as_written(name: str) -> None:
    """Crops, transforms, their numbers and their order."""
    recipe = PRESETS[name]().recipe
    assert recipe.name == name
    found = {view: written(made) for view, made in recipe.views.items()}
    assert found == EXPECTED[name]
    for view, (_, transforms) in found.items():
        assert list(transforms) == list(EXPECTED[name][view][1])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_take_the_same_options(name: str, payloads: list[bytes]) -> None:
    """Size, seed, device, dtype and normalize: views of that size and type, in their range, the
    same whatever the loader's seed, the batch, and whether the preset was pickled."""
    options: dict[str, Any] = {"size": 32, "seed": 42, "device": "cpu", "normalize": False}
    preset = PRESETS[name](**options, dtype=torch.float32)
    views = run(preset, payloads)
    sizes = {EXPECTED[name][view][0][0] for view in EXPECTED[name]}
    for view in EXPECTED[name]:
        side = 32 if view != "local" and len(sizes) == 1 else views[view].shape[-1]
        assert views[view].shape == (BATCH, 3, side, side)
        assert views[view].is_contiguous(memory_format=torch.channels_last)
        assert -1e-6 <= views[view].min() < views[view].max() <= 1 + 1e-6
    again = run(pickle.loads(pickle.dumps(preset)), payloads, slice(2, 4), seed=9)
    for view in EXPECTED[name]:
        torch.testing.assert_close(again[view], views[view][2:4], rtol=0, atol=1e-5)
    half = run(PRESETS[name](32, seed=42, dtype=torch.bfloat16), payloads)
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    for view in EXPECTED[name]:
        assert half[view].dtype == torch.bfloat16
        restored = half[view].float() * std + mean
        torch.testing.assert_close(restored, views[view], rtol=0, atol=0.01)


def test_sizes_of_options() -> None:
    """Other sizes scale what belongs to them: the resize of validation, small crops, kernels."""
    assert PRESETS["supervised_val"](112).recipe.views["image"].crop.options["resize_size"] == 128
    local = PRESETS["lejepa"](128).recipe.views["local_0"].crop.options
    assert local["size"] == 56
    assert written(PRESETS["byol"](96).recipe.views["view_0"])[1]["blur"] == (1.0, 9)
    six = PRESETS["multicrop"](global_crops=2, local_crops=6, local_size=64).recipe.views
    assert [*six] == ["global_0", "global_1", *(f"local_{i}" for i in range(6))]
    assert [*PRESETS["dino"](local_crops=0).recipe.views] == ["global_0", "global_1"]
    assert written(supervised_train(flip=0).recipe.views["image"])[1] == {}
    for call in (lambda: PRESETS["ipcl"](num_crops=0), lambda: PRESETS["dino"](local_crops=-1)):
        with pytest.raises(ValueError, match="must be at least"):
            call()


def test_supervised_presets_are_one_pass() -> None:
    """Flip, conversion and normalisation are the decoder's."""
    from slipstream_decoders.stages.base import fused_stages

    for name in ("supervised_train", "supervised_val", "mae"):
        assert len(fused_stages(PRESETS[name]()["image"])) == 1


def test_views_are_independent() -> None:
    """By equal seeds: neither two views nor neighbouring samples draw alike."""
    context = BatchContext(np.arange(4000), seed=0)
    pipeline = simclr(seed=5)["image"][1]
    assert isinstance(pipeline, MultiCropPipeline)
    drawn = {}
    for view, stages in pipeline.stages.items():
        for name, stage in stages:
            if isinstance(stage, RandomTransform):
                params = stage.draw(context.in_view(view).in_stage(name), 32, 32)
                for key, values in params.items():
                    drawn[f"{view} {name} {key}"] = values.double()
    table = torch.stack([*drawn.values()])
    shifted = torch.cat([table[:, 1:], table[:, :1]], 1)
    correlations = torch.corrcoef(torch.cat([table, shifted])).fill_diagonal_(0)
    assert len(drawn) == 2 * 9
    assert correlations.abs().max() < 5 / 4000**0.5


def test_describe() -> None:
    """By name, function or result; equal views stand together; unknown names are refused."""
    text = describe("simclr")
    assert text == describe(simclr) == describe(simclr())
    assert "view_0, view_1\n" in text
    assert "RandomColorJitterHSV(p=0.8, hue=0.1" in text
    assert text.endswith("then float32, normalised with ImageNet's mean and deviation")
    half = describe("dino", local_crops=2, dtype=torch.float16, normalize=False)
    assert "local_0, local_1\n" in half
    assert half.endswith("then float16, in [0, 1]")
    with pytest.raises(LookupError, match="no preset 'simcrl'; there are supervised_train"):
        describe("simcrl")


def test_recipes_can_be_changed(payloads: list[bytes]) -> None:
    """A recipe is data: take views out, and make pipelines of the rest."""
    recipe = PRESETS["dino"](32).recipe
    few = Recipe("mine", "nowhere", {name: recipe.views[name] for name in ("global_0", "local_3")})
    assert set(run(few.pipelines(seed=1), payloads)) == {"global_0", "local_3"}


def test_any_crop_and_transform_can_be_a_step(payloads: list[bytes]) -> None:
    """Views are cropped by the stages that the recipe names, with the seed of those that draw."""
    crops = {
        "direct": Step(DecodeDirectRandomResizedCrop, {"size": 32, "scale": (0.1, 0.3)}),
        "random": Step(DecodeRandomResizedCrop, {"size": 24}),
        "fixed": Step(DecodeResizeCrop, {"resize_size": 40, "crop_size": 32}),
    }
    mask = Step(CircularMask, {"output_size": 32})
    views = {name: View(crop, () if name == "random" else (mask,)) for name, crop in crops.items()}
    made = run(Recipe("mine", "nowhere", views).pipelines(seed=3, normalize=False), payloads)
    for name, crop in crops.items():
        stage = crop.make(seed=3)
        context = BatchContext(np.arange(BATCH), seed=1).in_view(name)
        pixels = run_stages([stage], payloads, context) / 255
        if name != "random":
            pixels = mask.make()(pixels)
        torch.testing.assert_close(made[name], pixels, rtol=0, atol=0.51 / 255)
    alone = Recipe("mine", "nowhere", {"image": View(crops["direct"])}).pipelines(seed=3)
    for seed in (1, 2):
        expected = run(alone, payloads, seed=1)["image"]
        assert torch.equal(run(alone, payloads, seed=seed)["image"], expected)
    whole = {name: View(Step(DecodeOnly)) for name in ("a", "b")}
    with pytest.raises(ValueError, match="decode and crop"):
        Recipe("mine", "nowhere", whole).pipelines()
    other = {"a": View(crops["fixed"]), "b": View(Step(DecodeResizeCrop, {"exif": "apply"}))}
    with pytest.raises(ValueError, match="same quality, engine, exif"):
        Recipe("mine", "nowhere", other).pipelines()


def test_copies_of_a_preset_keep_what_was_added() -> None:
    """Pipelines of other fields survive copy and pickle, and so does a removed one."""
    preset = supervised_train(32)
    preset["label"] = [ToOneHot(10)]
    for other in (copy.copy(preset), copy.deepcopy(preset), pickle.loads(pickle.dumps(preset))):
        assert list(other) == ["image", "label"]
        assert describe(other) == describe(preset)
    del preset["image"]
    assert list(copy.copy(preset)) == ["label"]


def test_every_preset_is_registered() -> None:
    """The entry points of the installed package are the presets."""
    points = {
        point.name: point.load()
        for point in entry_points(group="slipstream.pipelines")
        if point.value.startswith("slipstream_ssl_pipelines:")
    }
    assert points == PRESETS
