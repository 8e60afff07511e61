"""``slipstream info``: what a source or a cache holds, and what this machine brings."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.text import Text

from slipstream_cache import SampleCache, default_cache_root
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_decoders import default_num_threads
from slipstream_loader.cli.arguments import CacheDirOption, JsonOption
from slipstream_loader.cli.facts import engines, gpu_engines, image_facts
from slipstream_loader.cli.tables import kind_of, print_line, size
from slipstream_loader.machine import machine_info
from slipstream_loader.stored_source import StoredSource


def info(
    source: Annotated[
        str | None,
        typer.Argument(help="As for slipstream build, or a cache. Default: this machine."),
    ] = None,
    cache_dir: CacheDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Describe a source and its cache, or this machine."""
    facts = _environment() if source is None else _about(source, cache_dir)
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            print_line(name, style="bold")
            for key, item in value.items():
                print_line(f"  {key}: {_in_words(item)}")
        else:
            print_line(Text.assemble((name, "bold"), f" {value}"))


def _in_words(value: object) -> str:
    """A number of each kind as ``jpeg 60, yuv420 2``; anything else as it is."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return "none" if value is None else str(value)


def _environment() -> dict[str, Any]:
    return {
        "cache root": str(default_cache_root()),
        "engines": engines(),
        "engines for GPUs": gpu_engines(),
        "decoding threads": default_num_threads(),
        "machine": machine_info(),
    }


def _about(source: str, cache_dir: Any) -> dict[str, Any]:
    dataset = StoredSource.open(source, cache_dir)
    facts: dict[str, Any] = {
        "samples": len(dataset),
        "fields": {name: kind_of(spec) for name, spec in dataset.field_types.items()},
        "cache": str(dataset.cache_path),
    }
    manifest = dataset.cache_path / MANIFEST_NAME
    if not manifest.exists():
        return {**facts, "built": f"no; slipstream build {source}"}
    cache = SampleCache.open(dataset.cache_path)
    total = sum(path.stat().st_size for path in cache.cache_dir.rglob("*") if path.is_file())
    facts.update({"built": "yes", "bytes": size(total)})
    for name in cache.image_fields:
        facts[f"images in {name!r}"] = image_facts(cache, name)
    return facts
