"""Several random crops of each image from one decode."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

from slipstream_decoders.engines.base import Quality
from slipstream_decoders.engines.choose import CropEngineName
from slipstream_decoders.stages.crop import CropStage, Exif
from slipstream_decoders.stages.direct_random_resized import DecodeDirectRandomResizedCrop
from slipstream_decoders.stages.random_resized import DecodeRandomResizedCrop
from slipstream_decoders.stages.short_long import DecodeRandomResizeShortCropLong, SizeMode
from slipstream_decoders.stages.views import DecodeViews, ViewCrop

CropMode = Literal["standard", "direct"]
"""Torchvision's law of random resized crops, or the same without rejection."""

YOKED_TO = "yoked_to"


def view_crops(
    crops: Mapping[str, Mapping[str, Any]],
    make: Callable[..., CropStage],
    **common: Any,
) -> dict[str, ViewCrop]:
    """The crops of named views.

    Parameters
    ----------
    crops : mapping
        View name -> arguments of ``make``; ``yoked_to`` names another of the views, whose random
        numbers place this crop too.
    make : callable
        A crop stage.
    **common
        Arguments for all views that do not give their own.

    Raises
    ------
    TypeError
        If a view has an argument that there is not.
    ValueError
        If a view is yoked to one that there is not, or that is yoked itself, or has a seed beside
        its yoke.
    """
    known = inspect.signature(make).parameters.keys() | {YOKED_TO}
    made = {}
    for name, given in crops.items():
        arguments = dict(given)
        unknown = sorted(arguments.keys() - known)
        if unknown:
            raise TypeError(f"crop {name!r} has unknown arguments {unknown}: {sorted(known)} exist")
        view = arguments.pop(YOKED_TO, name)
        if view != name:
            if view not in crops or YOKED_TO in crops[view]:
                raise ValueError(
                    f"crop {name!r} is yoked to {view!r}, which must be another crop that is not "
                    f"yoked itself; there are {list(crops)}"
                )
            if "seed" in arguments:
                raise ValueError(f"crop {name!r} is yoked to {view!r}, whose seed it takes")
            arguments["seed"] = crops[view].get("seed")
        made[name] = ViewCrop(make(**{**common, **arguments}), view)
    return made


class DecodeMultiRandomResizedCrop(DecodeViews):
    """Decode once and make a random resized crop for each of several named views.

    Views are independent. A view that is *yoked* to another is placed by the same random numbers:
    by the same law it gets the same box, by another one a box at the same relative place.

    Parameters
    ----------
    crops : mapping of str to mapping
        View name -> arguments of ``DecodeRandomResizedCrop``: ``size``, ``scale``, ``ratio``,
        ``seed``, ``device``; and ``yoked_to``, the name of another view.
    ratio : (float, float)
        Width / height, for views that do not give theirs.
    crop_mode : {"standard", "direct"}
        ``direct``: the law of ``DecodeDirectRandomResizedCrop``.
    device : device, optional
        Where the results go; default: the CPU.
    quality : {"fast", "exact"}
    engine : {"auto", "cpu", "planes", "nvimgcodec", "native", "turbojpeg", "pillow"}
    exif : {"ignore", "apply"}

    Notes
    -----
    Boxes depend on (seed, epoch, sample id, occurrence, view, stage name) only.
    """

    def __init__(
        self,
        crops: Mapping[str, Mapping[str, Any]],
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        crop_mode: CropMode = "standard",
        *,
        device: Any = None,
        quality: Quality = "fast",
        engine: CropEngineName = "auto",
        exif: Exif = "ignore",
    ) -> None:
        if crop_mode not in get_args(CropMode):
            raise ValueError(f"crop_mode must be one of {get_args(CropMode)}, got {crop_mode!r}")
        is_direct = crop_mode == "direct"
        make = DecodeDirectRandomResizedCrop if is_direct else DecodeRandomResizedCrop
        options = {"device": device, "quality": quality, "engine": engine, "exif": exif}
        super().__init__(view_crops(crops, make, ratio=ratio, **options))


class DecodeUniformMultiRandomResizedCrop(DecodeViews):
    """Decode once and make several random resized crops by one law; gives a list of tensors.

    Parameters
    ----------
    num_crops : int
    size, scale, ratio
        As for ``DecodeRandomResizedCrop``.
    seeds : sequence of int, optional
        One for each crop; they replace the loader's. Crops are independent with equal seeds too.
    device : device, optional
        Where the results go; default: the CPU.
    quality : {"fast", "exact"}
    engine : {"auto", "cpu", "planes", "nvimgcodec", "native", "turbojpeg", "pillow"}
    exif : {"ignore", "apply"}
    """

    def __init__(
        self,
        num_crops: int = 2,
        size: int | Sequence[int] = 224,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        *,
        seeds: Sequence[int] | None = None,
        device: Any = None,
        quality: Quality = "fast",
        engine: CropEngineName = "auto",
        exif: Exif = "ignore",
    ) -> None:
        if num_crops < 1:
            raise ValueError(f"num_crops must be at least 1, got {num_crops}")
        if seeds is not None and len(seeds) != num_crops:
            raise ValueError(f"expected one seed for each of {num_crops} crops, got {len(seeds)}")
        crops: dict[str, dict[str, Any]] = {
            str(number): {} if seeds is None else {"seed": seeds[number]}
            for number in range(num_crops)
        }
        common = {"size": size, "scale": scale, "ratio": ratio}
        options = {"device": device, "quality": quality, "engine": engine, "exif": exif}
        made = view_crops(crops, DecodeRandomResizedCrop, **common, **options)
        super().__init__(made, as_list=True)


class DecodeMultiRandomResizeShortCropLong(DecodeViews):
    """Decode once; for each named view resize the shorter side and crop the longer one.

    Parameters
    ----------
    crops : mapping of str to mapping
        View name -> arguments of ``DecodeRandomResizeShortCropLong``: ``size``, ``x_range``,
        ``y_range``, ``seed``, ``size_mode``, ``device``; and ``yoked_to``, the name of another
        view, whose random numbers give size and place of this one too.
    size_mode : {"per_batch", "per_image"}
        For views that do not give theirs.
    device : device, optional
        Where the results go; default: the CPU.
    quality : {"fast", "exact"}
    engine : {"auto", "cpu", "planes", "nvimgcodec", "native", "turbojpeg", "pillow"}
    exif : {"ignore", "apply"}
    """

    def __init__(
        self,
        crops: Mapping[str, Mapping[str, Any]],
        size_mode: SizeMode = "per_batch",
        *,
        device: Any = None,
        quality: Quality = "fast",
        engine: CropEngineName = "auto",
        exif: Exif = "ignore",
    ) -> None:
        options = {"device": device, "quality": quality, "engine": engine, "exif": exif}
        made = view_crops(crops, DecodeRandomResizeShortCropLong, size_mode=size_mode, **options)
        super().__init__(made)
