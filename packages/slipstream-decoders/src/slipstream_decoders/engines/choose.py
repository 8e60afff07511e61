"""Which engine takes which sample."""

from __future__ import annotations

from functools import cache
from typing import Literal, get_args

from slipstream_decoders._turbojpeg.library import find_turbojpeg
from slipstream_decoders.engines.base import Engine
from slipstream_decoders.engines.native import NativeEngine
from slipstream_decoders.engines.pillow import PillowEngine
from slipstream_decoders.engines.stored import StoredPixelsEngine
from slipstream_decoders.engines.turbojpeg import TurboJpegEngine

EngineName = Literal["auto", "native", "turbojpeg", "pillow"]
"""``auto``: the native engine, then libjpeg-turbo and Pillow for what the one before refused."""

CropEngineName = EngineName | Literal["cpu", "planes", "nvimgcodec"]
"""Engines of crop stages. ``planes``: the native engine, with the resize on the stage's device.
``nvimgcodec``: decodes JPEGs on the device; ``quality`` is that of those it leaves to the CPU.
``cpu``: ``auto`` of the CPU, whatever the device. ``auto`` on a GPU: the
fastest of these, by measurement."""


@cache
def _native() -> Engine:
    return NativeEngine()


@cache
def _turbojpeg() -> Engine:
    return TurboJpegEngine()


@cache
def _pillow() -> Engine:
    return PillowEngine()


@cache
def stored_engine() -> Engine:
    """The engine of the codecs that hold pixels."""
    return StoredPixelsEngine()


def jpeg_engines(name: EngineName) -> list[Engine]:
    """The engines of the JPEG codec, in the order in which a sample is offered to them.

    Raises
    ------
    BackendUnavailableError
        If the named engine's library is not installed.
    ValueError
        If there is no engine of that name.
    """
    if name == "auto":
        others = [_turbojpeg(), _pillow()] if find_turbojpeg() else [_pillow()]
        return [_native(), *others]
    if name == "native":
        return [_native()]
    if name == "turbojpeg":
        return [_turbojpeg()]
    if name == "pillow":
        return [_pillow()]
    raise ValueError(f"unknown engine {name!r}: expected one of {', '.join(get_args(EngineName))}")
