"""Pipelines by name, for the command line: those built in, and those that packages register.

A package registers one by an entry point of the group ``slipstream.pipelines``: a function that can
be called without arguments and returns the stages of an image field, or ``{field: stages}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from slipstream_decoders import (
    DecodeCenterCrop,
    DecodeRandomResizedCrop,
    DecodeResizeCrop,
    Normalize,
    StageLike,
)

Stages = Sequence[StageLike]

GROUP: Final = "slipstream.pipelines"
BUILT_IN: Final[dict[str, Callable[[], Stages]]] = {
    "raw": list,
    "center_crop": lambda: [DecodeCenterCrop(224)],
    "resize_crop": lambda: [DecodeResizeCrop(256, 224)],
    "rrc": lambda: [DecodeRandomResizedCrop(224)],
    "rrc_normalized": lambda: [DecodeRandomResizedCrop(224), Normalize()],
}
"""Name -> stages of the image field; ``raw`` has none: payloads as they are stored."""


def named_pipeline(name: str) -> list[StageLike]:
    """The stages of an image field by the name of the pipeline.

    Raises
    ------
    LookupError
        If there is none of that name.
    TypeError
        If what a package registered makes no pipeline of one field.
    """
    if name in BUILT_IN:
        return list(BUILT_IN[name]())
    registered = _registered()
    if name not in registered:
        known = ", ".join([*BUILT_IN, *registered])
        presets = "" if registered else "; presets come with visionlab-slipstream-ssl-pipelines"
        raise LookupError(f"no pipeline {name!r}; there are {known}{presets}")
    made = registered[name].load()()
    if isinstance(made, Mapping):
        fields = list(made)
        if len(fields) != 1:
            raise TypeError(f"pipeline {name!r} is for the fields {fields}, expected one")
        made = made[fields[0]]
    return list(made) if isinstance(made, Sequence) else [made]


def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
