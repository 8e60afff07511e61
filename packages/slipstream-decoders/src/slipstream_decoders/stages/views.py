"""Several views of one batch: from one decode, or as copies, and a pipeline for each view."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from slipstream_decoders.batch import EncodedBatch
from slipstream_decoders.context import BatchContext
from slipstream_decoders.engines.choose import CropEngineName
from slipstream_decoders.stages.base import (
    Stage,
    StageLike,
    apply_stage,
    named_stages,
)
from slipstream_decoders.stages.crop import (
    CropStage,
    as_decodable,
    can_fold,
    decode_views,
)
from slipstream_decoders.stages.output import Output, folded

_NamedStages = list[tuple[str, StageLike]]


class NamedCopies(Stage):
    """One decoded batch -> a dict of equal, independent copies.

    Parameters
    ----------
    names : sequence of str
        Names of the views, at least one, all different.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if isinstance(names, str) or not names or len(set(names)) != len(names):
            raise ValueError(f"names must be at least one name, all different, got {names!r}")
        self.names = list(names)

    def apply(self, batch: Any, context: BatchContext) -> dict[str, Any]:
        """Copy; the first view is the batch itself, which nobody else has."""
        del context
        first, *others = self.names
        return {first: batch, **{name: _copy(batch) for name in others}}


def _copy(batch: Any) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch.clone()
    if isinstance(batch, np.ndarray):
        return batch.copy()
    if isinstance(batch, list):
        return [_copy(item) for item in batch]
    if isinstance(batch, EncodedBatch):
        return batch  # nobody changes it
    raise TypeError(
        f"cannot copy {type(batch).__name__}: NamedCopies takes the tensor, array or list of a "
        "decoding stage"
    )


@dataclass(frozen=True)
class ViewCrop:
    """The crop of one view, and what its random numbers depend on."""

    crop: CropStage
    view: str
    """The view whose random numbers place the crop: its own, or the one that it is yoked to."""
    stage: str | None = None
    """The name under which the crop draws; None: that of the stage that decodes."""


class DecodeViews(Stage):
    """Decode each image once and make the crops of several views of it.

    Gives a dict of view -> tensor. All crops have to decode alike: quality, engine and EXIF.

    Parameters
    ----------
    crops : mapping of str to ViewCrop
        View name -> crop, at least one.
    as_list : bool
        Whether to give a list of the views instead of a dict.
    """

    def __init__(self, crops: Mapping[str, ViewCrop], *, as_list: bool = False) -> None:
        if not crops:
            raise ValueError("expected at least one crop")
        self._crops = dict(crops)
        self._as_list = as_list
        self._outputs = {name: Output(device=crop.crop.device) for name, crop in crops.items()}
        self.crops = {name: crop.crop for name, crop in crops.items()}
        self.uses_seek_points = any(crop.uses_seek_points for crop in self.crops.values())
        if len({crop.options for crop in self.crops.values()}) > 1:
            raise ValueError(
                "crops of one decode must have the same quality, engine, exif and colours, got "
                f"{[crop.options for crop in self.crops.values()]}"
            )

    def placed(self, device: Any, engine: CropEngineName) -> DecodeViews:
        """The same crops with their results on another device, by another engine."""
        other = copy.copy(self)
        DecodeViews.__init__(
            other,
            {
                name: replace(each, crop=each.crop.placed(device, engine))
                for name, each in self._crops.items()
            },
            as_list=self._as_list,
        )
        return other

    def apply(self, batch: Any, context: BatchContext) -> Any:
        """Decode, crop and resize.

        Returns
        -------
        dict of str to Tensor
            uint8 (B, 3, height, width) in channels_last order, or lists of arrays (height, width,
            3) for crops that give each image its own size; pixels are those of separate decodes.

        Raises
        ------
        CorruptImageError, UnsupportedImageError
            With the ids of all samples that failed.
        """
        options = next(iter(self.crops.values())).options
        encoded = as_decodable(batch, options, context)
        wanted = []
        for name, each in self._crops.items():
            output = self._outputs[name]
            place = context.in_view(each.view).in_stage(each.stage or context.stage)
            flips = output.drawn_flips(context.in_view(name))
            wanted.append(each.crop.view(encoded, place, output.form, flips))
        decoded = decode_views(encoded, wanted, list(self.crops.values()), context)
        views = dict(zip(self.crops, decoded, strict=True))
        return list(views.values()) if self._as_list else views

    def fuse(self, following: StageLike, name: str) -> tuple[Stage, StageLike | None] | None:
        """See ``Stage``: the first stages of each view; for a list, those that draw nothing."""
        if self._as_list:
            fused, rest = self.folding({view: [(name, following)] for view in self.crops})
            draws = any(output.flips for output in fused._outputs.values())
            return None if draws or any(rest.values()) else (fused, None)
        if type(following) is not MultiCropPipeline or following.stages.keys() - self.crops.keys():
            return None
        fused, rest = self.folding(following.stages)
        return fused, MultiCropPipeline.of_named(rest) if any(rest.values()) else None

    def folding(
        self, stages: Mapping[str, _NamedStages]
    ) -> tuple[DecodeViews, dict[str, _NamedStages]]:
        """This stage with as many of each view's first stages as it can take, and the others."""
        fused = copy.copy(self)
        fused._outputs = dict(self._outputs)
        rest = {}
        for view, named in stages.items():
            taken = 0
            for name, stage in named if can_fold(self.crops[view]) else []:
                output = folded(stage, fused._outputs[view], name)
                if output is None:
                    break
                fused._outputs[view] = output
                taken += 1
            rest[view] = named[taken:]
        return fused, rest


class MultiCropPipeline(Stage):
    """A pipeline for each view of a dict of views.

    Views are independent: the view's name is part of the key of every random stream. Views without
    a pipeline pass through. Where every pipeline begins with a decoding crop, this may be the first
    stage of an image field: images are then decoded once for all views.

    Parameters
    ----------
    pipelines : mapping of str to stages
        View name -> list of stages.
    """

    def __init__(self, pipelines: Mapping[str, StageLike | Sequence[StageLike]]) -> None:
        self.stages = {view: named_stages(stages) for view, stages in pipelines.items()}
        self._decoder = _decoder_of(self.stages)
        if self._decoder is not None:
            self.uses_seek_points = self._decoder.uses_seek_points
            after = {view: named[1:] for view, named in self.stages.items()}
            self._decoder, self._after_decoder = self._decoder.folding(after)

    @classmethod
    def of_named(cls, stages: Mapping[str, _NamedStages]) -> MultiCropPipeline:
        """Stages that have names already, under which they draw."""
        pipeline = cls({})
        pipeline.stages = dict(stages)
        return pipeline

    def placed(self, device: Any, engine: CropEngineName) -> MultiCropPipeline:
        """The same pipelines, with crops that begin them on another device, by another engine."""
        return MultiCropPipeline(
            {
                view: [placed_stage(stage, device, engine) for _, stage in named]
                for view, named in self.stages.items()
            }
        )

    def apply(self, batch: Any, context: BatchContext) -> dict[str, Any]:
        """Run the pipelines.

        Raises
        ------
        LookupError
            If the batch has no view of a pipeline's name.
        """
        stages: Mapping[str, _NamedStages] = self.stages
        encoded = self._shared(batch)
        if encoded is not None and self._decoder is not None:
            others = batch if _is_views(batch) else {}
            batch = {**others, **self._decoder.apply(encoded, context)}
            stages = self._after_decoder
        if not _is_views(batch):
            raise TypeError(
                f"MultiCropPipeline takes a dict of views, got {type(batch).__name__}: put "
                "NamedCopies or a multi-crop decoder before it, or let every view's pipeline "
                "begin with a decoding crop of the same quality, engine and exif"
            )
        missing = [name for name in stages if name not in batch]
        if missing:
            raise LookupError(f"no view named {missing}; the batch has {list(batch)}")
        views = dict(batch)
        for view, named in stages.items():
            for name, stage in named:
                views[view] = apply_stage(name, stage, views[view], context.in_view(view))
        return views

    def _shared(self, batch: Any) -> Any:
        """The encoded images that all views are to be made of, or None."""
        if not _is_views(batch):
            return batch if isinstance(batch, (EncodedBatch, Mapping, list)) else None
        first, *others = [batch.get(view) for view in self.stages] or [None]
        is_shared = isinstance(first, EncodedBatch) and all(each is first for each in others)
        return first if is_shared else None


def placed_stage(stage: StageLike, device: Any, engine: CropEngineName) -> StageLike:
    """A stage with its result on another device, by another engine, if it decodes crops."""
    if isinstance(stage, (CropStage, DecodeViews, MultiCropPipeline)):
        return stage.placed(device, engine)
    return stage


def stage_engine(stage: StageLike) -> CropEngineName | None:
    """The engine that a stage asks for, if it decodes crops."""
    if isinstance(stage, CropStage):
        return stage.options.engine
    if isinstance(stage, DecodeViews):
        return next(iter(stage.crops.values())).options.engine
    if isinstance(stage, MultiCropPipeline):
        firsts = [named[0][1] for named in stage.stages.values() if named]
        return stage_engine(firsts[0]) if firsts else None
    return None


def _is_views(batch: Any) -> bool:
    """Whether this is a dict of views, and not an encoded batch as a mapping."""
    return isinstance(batch, Mapping) and "sizes" not in batch


def _decoder_of(stages: Mapping[str, _NamedStages]) -> DecodeViews | None:
    """The first crops of all pipelines as one decode; None if that cannot be."""
    crops = {}
    for view, named in stages.items():
        name, crop = named[0] if named else ("", None)
        if not isinstance(crop, CropStage) or type(crop).apply is not CropStage.apply:
            return None
        crops[view] = ViewCrop(crop, view, name)
    options = {each.crop.options for each in crops.values()}
    return DecodeViews(crops) if len(options) == 1 else None
