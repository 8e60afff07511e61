"""What a run depends on, as digests that a later process compares."""

from __future__ import annotations

import hashlib
import platform
from functools import partial
from typing import Any

import numpy as np

from sqrtspace_streams._graph import CompiledGraph
from sqrtspace_streams._params import Parameters
from sqrtspace_streams._stage import Stage
from sqrtspace_streams.config import Settings
from sqrtspace_streams.resume.tokens import Tokens, library_version
from sqrtspace_streams.sources.base import Source

_SAMPLES = 16_384  # read at either end of the source
_LIBRARIES = {"pytorch": "torch", "arrow": "pyarrow"}  # of backends with another name
_MEANING = ("window", "hop", "dtype", "block_rows", "seed", "backend", "device")


def fingerprint(
    compiled: CompiledGraph, arguments: Parameters, source: Source, settings: Settings
) -> dict[str, str]:
    """A digest of each thing that results depend on, by what it is.

    Of functions and kernels their byte code counts, constants, defaults, closures, what they name
    of their module, and the attributes of a kernel, of its class and of the object of a bound
    method; of other objects that these hold, data classes apart, the class alone. Of libraries the
    version counts, where they are named. Of a source its type of samples, its length and the
    samples at both ends count.
    """
    found = {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "NumPy": np.__version__,
        "source": _source_digest(source),
    }
    if settings.backend != "numpy":
        library = _LIBRARIES.get(settings.backend, settings.backend)
        found[library] = library_version(library)
    for name in _MEANING:
        found[name] = str(getattr(settings, name))
    for stage in compiled.order:
        found[f"stage {stage.name!r}"] = _stage_digest(stage)
        if arguments[stage.name]:
            found[f"parameters of {stage.name!r}"] = _hex(Tokens().of(arguments[stage.name]))
    return found


def differences(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """What is not the same in two fingerprints."""
    return sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))


def _stage_digest(stage: Stage) -> str:
    what = made_of = stage.kernel if stage.kernel else stage.function
    while isinstance(made_of, partial):
        made_of = made_of.func
    tokens = Tokens(getattr(made_of, "__module__", None) or "")
    options = (stage.inputs, stage.batch_invariant, stage.vectorized, stage.context, stage.pad)
    return _hex(tokens.of(what, is_whole=True) + tokens.of(options))


def _source_digest(source: Source) -> str:
    parts: list[Any] = [source.dtype, source.item_shape, source.num_samples]
    count = source.num_samples
    if count is not None:
        ends = {0: min(count, _SAMPLES), max(count - _SAMPLES, 0): count}
        parts += [source.read(start, stop) for start, stop in ends.items()]
    return _hex(Tokens().of(parts))


def _hex(token: bytes) -> str:
    return hashlib.blake2b(token, digest_size=8).hexdigest()
