"""Parameters of a call: who gets what, and a signature of each node for the caches."""

from __future__ import annotations

import hashlib
from types import BuiltinMethodType, MethodType
from typing import Any

import numpy as np

from sqrtspace_streams._graph import CompiledGraph, Graph
from sqrtspace_streams._identities import Identities
from sqrtspace_streams._stage import INPUT, Stage
from sqrtspace_streams.errors import ParameterError

Parameters = dict[str, dict[str, Any]]  # of each stage, by name
_IDENTITIES = Identities()
_ARRAYS = (np.ndarray, np.memmap)  # other kinds, such as masked arrays, have more than content


def resolve(graph: Graph, compiled: CompiledGraph, params: dict[str, Any] | None) -> Parameters:
    """The keyword arguments of each stage that a target needs.

    A plain name goes to every stage that declares it; ``"stage.name"`` and
    ``{"stage": {"name": value}}`` go to one stage and win over plain names.

    Raises
    ------
    ParameterError
        If no stage takes a parameter, or a stage misses one that it requires.
    """
    flat: dict[str, Any] = {}
    named: Parameters = {name: {} for name in graph.stages}
    for key, value in (params or {}).items():
        stage_name, _, keyword = key.partition(".")
        if keyword and stage_name in graph.stages:
            named[stage_name][keyword] = value
        elif key in graph.stages and isinstance(value, dict):
            named[key].update(value)
        else:
            flat[key] = value
    _check_known(graph, flat, named)
    return {stage.name: _arguments(stage, flat, named[stage.name]) for stage in compiled.order}


def _check_known(graph: Graph, flat: dict[str, Any], named: Parameters) -> None:
    stages = graph.stages.values()
    for key in flat:
        if key == "rng" or not any(key in _declared(stage) for stage in stages):
            known = sorted(set().union(*map(_declared, stages)) - {"rng"})
            raise ParameterError(f"no stage takes a parameter {key!r}; there are {known}")
    for stage in stages:
        for key in named[stage.name]:
            if key == "rng" or not (key in _declared(stage) or stage.keywords.takes_any):
                known = sorted(_declared(stage) - {"rng"})
                raise ParameterError(f"stage {stage.name!r} takes no {key!r}; it takes {known}")


def _declared(stage: Stage) -> frozenset[str]:
    return stage.keywords.required | stage.keywords.optional


def _arguments(stage: Stage, flat: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    arguments = {k: v for k, v in flat.items() if k in _declared(stage)} | named
    if missing := sorted(stage.keywords.required - set(arguments) - {"rng"}):
        raise ParameterError(
            f"stage {stage.name!r} needs {missing}: give params={{{missing[0]!r}: ...}}"
        )
    return arguments


def signatures(compiled: CompiledGraph, arguments: Parameters) -> dict[str, bytes]:
    """A digest of each node: its parameters and those of all that it reads."""
    digests = {INPUT: b""}
    for stage in compiled.order:
        digest = hashlib.blake2b(stage.name.encode(), digest_size=16)
        for name in stage.inputs:
            digest.update(digests[name])
        for key in sorted(arguments[stage.name]):
            digest.update(key.encode() + b"=" + _token(arguments[stage.name][key]))
        digests[stage.name] = digest.digest()
    return digests


def _token(value: Any) -> bytes:
    """Bytes that differ where values differ; unknown objects are told apart by identity."""
    if type(value) in _ARRAYS and not value.dtype.hasobject:
        content = hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=16).digest()
        return f"{value.dtype!r}{value.shape}".encode() + content
    if type(value) in _ARRAYS:
        return f"{value.dtype}{value.shape}".encode() + _token(value.tolist())
    if isinstance(value, list | tuple):
        return b"(" + b",".join(map(_token, value)) + b")"
    if isinstance(value, dict):
        return b"{" + b",".join(_token(k) + b":" + _token(v) for k, v in value.items()) + b"}"
    if isinstance(value, set | frozenset):
        return b"<" + b",".join(sorted(map(_token, value))) + b">"
    if isinstance(value, bool | int | float | complex | str | bytes | np.generic | type(None)):
        return f"{type(value).__name__}:{value!r};".encode()
    if isinstance(value, MethodType):  # a new one each time that it is named
        return b"method " + _token(value.__func__) + _token(value.__self__)
    if isinstance(value, BuiltinMethodType):
        return f"method {value.__qualname__} ".encode() + _token(value.__self__)
    return f"{type(value).__name__}#{_IDENTITIES.number(value)};".encode()
