"""``Recipe``: a preset as data, before it is made into stages.

A recipe says which views an image gets, which crop and which transforms each view, and where that
is written. ``Recipe.pipelines`` makes stages of it; ``describe`` prints it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from slipstream_decoders import (
    DecodeMultiRandomResizedCrop,
    DecodeRandomResizedCrop,
    MultiCropPipeline,
    Normalize,
    Stage,
    StageLike,
    ToTorchImage,
)
from slipstream_decoders.stages.crop import CropStage
from slipstream_decoders.stages.views import DecodeViews, ViewCrop
from slipstream_ssl_pipelines.transforms.flip import RandomHorizontalFlip

IMAGE = "image"
"""Name of the field that presets are made for, and of the view of those that have one."""


@dataclass(frozen=True)
class Step:
    """A stage and its options, without seed and device."""

    stage: type[Stage]
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self, **common: Any) -> Stage:
        """The stage, with those options that all steps of a preset share and that it has."""
        known = inspect.signature(self.stage).parameters.values()
        if all(each.kind is not each.VAR_KEYWORD for each in known):
            names = {each.name for each in known}
            common = {name: value for name, value in common.items() if name in names}
        return self.stage(**self.options, **common)

    def __str__(self) -> str:
        options = ", ".join(f"{name}={_text(value)}" for name, value in self.options.items())
        return f"{self.stage.__name__}({options})"


def _text(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_text, value))})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class View:
    """How one view of an image is made."""

    crop: Step
    """A decoding stage."""
    transforms: tuple[Step, ...] = ()
    """Of pixels in [0, 1], in order, before the normalisation."""
    labels: tuple[Step, ...] = ()
    """Stages that leave the pixels as they are and add something to the batch, such as masks."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them, in order."""
        return (self.crop, *self.transforms, *self.labels)

    def stages(self, seed: int | None, dtype: torch.dtype, normalize: bool) -> list[StageLike]:
        """The stages that follow the crop.

        Colours are changed in float32 whatever ``dtype`` is: the last stage rounds once.
        """
        is_flip = [step.stage is RandomHorizontalFlip for step in self.transforms]
        num_flips = is_flip.index(False) if False in is_flip else len(is_flip)
        made: list[StageLike] = [step.make(seed=seed, inplace=True) for step in self.transforms]
        if num_flips < len(made):
            made.insert(num_flips, ToTorchImage())  # flips before it: the decoder mirrors bytes
        made.append(Normalize(dtype=dtype) if normalize else ToTorchImage(dtype=dtype))
        return made + [step.make(seed=seed) for step in self.labels]


class Preset(dict[str, list[StageLike]]):
    """Pipelines for a loader, ``{"image": [...]}``, which know the recipe they were made by."""

    def __init__(self, stages: Sequence[StageLike], recipe: Recipe, ending: str) -> None:
        super().__init__({IMAGE: list(stages)})
        self.recipe = recipe
        self.ending = ending
        """What the views become, in words."""


@dataclass(frozen=True)
class Recipe:
    """A preset as data.

    Take one apart with ``simclr().recipe``, change it with ``dataclasses.replace`` and make stages
    of it with ``pipelines``.
    """

    name: str
    source: str
    """Where the recipe is written, and how this one differs."""
    views: Mapping[str, View]
    """View name -> view; one view named ``image`` is the image itself."""

    def pipelines(
        self,
        *,
        seed: int | None = None,
        device: Any = None,
        dtype: torch.dtype = torch.float32,
        normalize: bool = True,
    ) -> Preset:
        """Make the stages.

        Parameters
        ----------
        seed : int, optional
            Replaces the loader's. Views and stages draw independently by equal seeds.
        device : device, optional
            Where views are made after decoding, and where they end up. Default: the CPU.
        dtype : dtype
            Floating point type of the views.
        normalize : bool
            With ImageNet's mean and standard deviation; else pixels are in [0, 1].

        Returns
        -------
        Preset
            ``{"image": stages}``: the ``pipelines`` of a loader.

        Raises
        ------
        ValueError
            If several views are not made by crops that one decode can make.
        """
        ending = f"{str(dtype).removeprefix('torch.')}, " + (
            "normalised with ImageNet's mean and deviation" if normalize else "in [0, 1]"
        )
        stages = {name: view.stages(seed, dtype, normalize) for name, view in self.views.items()}
        if list(stages) == [IMAGE]:
            first: list[StageLike] = [self.views[IMAGE].crop.make(seed=seed, device=device)]
            return Preset([*first, *stages[IMAGE]], self, ending)
        decode = self._decode(seed, device)
        return Preset([decode, MultiCropPipeline(stages)], self, ending)

    def _decode(self, seed: int | None, device: Any) -> DecodeViews:
        """One decode for the crops of all views."""
        steps = {name: view.crop for name, view in self.views.items()}
        if all(step.stage is DecodeRandomResizedCrop for step in steps.values()):
            common = {"seed": seed, "device": device}
            return DecodeMultiRandomResizedCrop(
                {name: {**step.options, **common} for name, step in steps.items()}
            )
        crops = {}
        for name, step in steps.items():
            crop = step.make(seed=seed, device=device)
            if not isinstance(crop, CropStage):
                raise ValueError(f"view {name!r} begins with {step}: it must decode and crop")
            crops[name] = ViewCrop(crop, name, step.stage.__name__)
        return DecodeViews(crops)

    def __str__(self) -> str:
        groups: dict[str, list[str]] = {}
        for name, view in self.views.items():
            groups.setdefault("\n".join(f"    {step}" for step in view.steps), []).append(name)
        views = [f"  {', '.join(names)}\n{steps}" for steps, names in groups.items()]
        return "\n".join([f"{self.name}: {self.source}", *views])


def random_views(
    names: Sequence[str],
    size: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    transforms: Sequence[Step],
) -> dict[str, View]:
    """Views that are made alike: a random resized crop each, then transforms.

    Transforms with ``p=0`` are left out.
    """
    crop = Step(DecodeRandomResizedCrop, {"size": size, "scale": scale, "ratio": ratio})
    used = tuple(step for step in transforms if step.options.get("p", 1) > 0)
    return {name: View(crop, used) for name in names}


def describe(preset: str | Preset | Callable[..., Preset], **options: Any) -> str:
    """The recipe of a preset as text: its source, and the steps of each view.

    Parameters
    ----------
    preset : str, Preset or callable
        Its name, its function, or what that returned.
    **options
        Arguments of the function.

    Raises
    ------
    LookupError
        If there is no preset of that name.
    TypeError
        If the function does not take the options, or there is none to take them.
    """
    if isinstance(preset, str):
        from slipstream_ssl_pipelines.presets.table import PRESETS  # late: it imports this module

        if preset not in PRESETS:
            raise LookupError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
        preset = PRESETS[preset]
    if isinstance(preset, Preset) and options:
        raise TypeError(f"a preset that is made takes no options, got {sorted(options)}")
    made = preset if isinstance(preset, Preset) else preset(**options)
    return f"{made.recipe}\n  then {made.ending}"
