"""``slipstream sync``: caches on S3 that a lab shares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from slipstream_cache import SampleCache, default_cache_root
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_loader.cli.arguments import CacheDirOption, JsonOption
from slipstream_loader.cli.tables import count, print_line, size
from slipstream_loader.errors import RemoteNotFoundError
from slipstream_loader.remote_cache import RemoteCache, fetch_additions, fetch_cache, sync_cache
from slipstream_loader.remote_contents import SharedCache, list_caches, prune

sync = typer.Typer(
    help="Share caches over S3: build once, download everywhere.", no_args_is_help=True
)

UrlArgument = Annotated[str, typer.Argument(help="Where caches are shared: s3://bucket/prefix.")]
KeyArgument = Annotated[
    str, typer.Argument(help="Of the cache, as `slipstream sync ls` prints it.")
]
EndpointOption = Annotated[
    str | None, typer.Option(help="Of an S3-compatible service, such as https://s3.wasabisys.com.")
]
ProfileOption = Annotated[str | None, typer.Option(help="A profile of the AWS configuration.")]
AnonymousOption = Annotated[
    bool, typer.Option("--anonymous", help="Read a public bucket without credentials.")
]


@sync.command()
def up(
    cache: Annotated[Path, typer.Argument(help="Directory of a slipcache.")],
    url: UrlArgument,
    endpoint_url: EndpointOption = None,
    profile: ProfileOption = None,
) -> None:
    """Upload a cache and what was added to it; fetch what others added."""
    opened = SampleCache.open(cache)
    fetched, sent = sync_cache(_remote(url, endpoint_url, profile), opened)
    print_line(
        f"uploaded {count(sent, 'file')}, downloaded {count(fetched, 'addition')}: {opened.key}"
    )


@sync.command()
def down(
    url: UrlArgument,
    key: KeyArgument,
    cache_dir: CacheDirOption = None,
    endpoint_url: EndpointOption = None,
    profile: ProfileOption = None,
    anonymous: AnonymousOption = False,
) -> None:
    """Download a cache, or what was added to it since, and print its directory."""
    key = _bare(key)
    root = default_cache_root() if cache_dir is None else cache_dir.expanduser().absolute()
    directory = root / f"slipcache-{key}"
    remote = _remote(url, endpoint_url, profile, anonymous)
    was_there = (directory / MANIFEST_NAME).exists()
    if not was_there and not fetch_cache(remote, key, directory):
        raise RemoteNotFoundError(f"there is no cache slipcache-{key} in {url}")
    fetched = fetch_additions(remote, SampleCache.open(directory))
    what = "found" if was_there else "downloaded"
    print_line(f"{what}, with {count(fetched, 'new addition')}")
    print_line(str(directory))


@sync.command()
def ls(
    url: UrlArgument,
    endpoint_url: EndpointOption = None,
    profile: ProfileOption = None,
    anonymous: AnonymousOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the caches of a shared place."""
    found = list_caches(_remote(url, endpoint_url, profile, anonymous))
    if as_json:
        typer.echo(json.dumps([_as_json(cache) for cache in found], indent=1))
        return
    for cache in found:
        print_line(_line(cache))
    if not found:
        print_line(f"there are no caches in {url}")


@sync.command(name="prune")
def prune_(
    url: UrlArgument,
    key: KeyArgument,
    addition: Annotated[
        str | None, typer.Option(help="Only this addition, such as derived/image.yuv420.")
    ] = None,
    unused: Annotated[
        bool,
        typer.Option("--unused", help="Only files of unfinished uploads and of other builds."),
    ] = False,
    endpoint_url: EndpointOption = None,
    profile: ProfileOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a cache from the shared place, by its key. Copies elsewhere stay."""
    key = _bare(key)
    if not yes:
        what = addition or ("unused files" if unused else "everything")
        typer.confirm(f"Delete {what} of slipcache-{key} in {url} for everybody?", abort=True)
    remote = _remote(url, endpoint_url, profile)
    num_objects, num_bytes = prune(remote, key, addition=addition, unused=unused)
    print_line(f"deleted {count(num_objects, 'object')}, {size(num_bytes)}")


def _remote(
    url: str, endpoint_url: str | None, profile: str | None, anonymous: bool = False
) -> RemoteCache:
    options = {"profile": profile, "anonymous": anonymous or None}
    return RemoteCache(url, endpoint_url, options, strict=True)


def _bare(key: str) -> str:
    """The key, also where somebody gives the directory's name."""
    return key.removeprefix("slipcache-").rstrip("/")


def _line(cache: SharedCache) -> str:
    manifest = cache.manifest
    if manifest is None:
        words = ["not complete"]
    else:
        words = [count(manifest.num_samples, "sample"), f"from {manifest.source.uri}"]
    added = f"; {', '.join(cache.additions)}" if cache.additions else ""
    return f"{cache.key}  {size(cache.num_bytes)}, {', '.join(words)}{added}"


def _as_json(cache: SharedCache) -> dict[str, object]:
    manifest = cache.manifest
    return {
        "key": cache.key,
        "bytes": cache.num_bytes,
        "complete": manifest is not None,
        "num_samples": None if manifest is None else manifest.num_samples,
        "source": None if manifest is None else manifest.source.uri,
        "additions": cache.additions,
        "unused_objects": len(cache.unused),
    }
