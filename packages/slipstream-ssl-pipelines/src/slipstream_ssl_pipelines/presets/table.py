"""All presets by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from slipstream_ssl_pipelines.presets.masked import ijepa, mae
from slipstream_ssl_pipelines.presets.multicrop import dino, ipcl, lejepa, multicrop
from slipstream_ssl_pipelines.presets.recipe import Preset
from slipstream_ssl_pipelines.presets.siamese import barlow_twins, byol, mocov3, vicreg
from slipstream_ssl_pipelines.presets.simclr import simclr, simclr_standard
from slipstream_ssl_pipelines.presets.supervised import supervised_train, supervised_val

PRESETS: Final[dict[str, Callable[..., Preset]]] = {
    preset.__name__: preset
    for preset in (
        supervised_train,
        supervised_val,
        simclr,
        simclr_standard,
        ipcl,
        lejepa,
        multicrop,
        byol,
        dino,
        mocov3,
        barlow_twins,
        vicreg,
        mae,
        ijepa,
    )
}
"""Name -> preset. Each takes ``size, seed, device, dtype, normalize``."""
