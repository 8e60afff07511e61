"""The shards that a text names: brace lists, ``::`` between lists, and ``*`` in local names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from slipstream_loader.errors import SourceError
from slipstream_loader.sources.stored_file import is_url

_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_RANGE: Final = re.compile(r"(\d{1,12})\.\.(\d{1,12})")
_MAX_SHARDS: Final = 1_000_000


def names_several(location: str) -> bool:
    """Tell whether a path or URL stands for several."""
    return "::" in location or bool(_BRACES.search(location)) or "*" in location


def expand(location: str) -> list[str]:
    """List the shards in their order.

    Parameters
    ----------
    location : str
        Such as ``"s3://bucket/train-{000..146}.tar"``, ``"a.tar::b.tar"``, ``"part-{a,b}.tar"`` or
        ``"shards/*.tar"``. Numbers keep their leading zeros. The path of a file that exists stands
        for that file.

    Raises
    ------
    SourceError
        It names no file, or too many.
    """
    if not is_url(location) and os.path.isfile(os.path.expanduser(location)):
        return [location]
    names: list[str] = []
    for part in location.split("::"):
        names += _expand_braces(part)
        if len(names) > _MAX_SHARDS:
            raise SourceError(f"{location} names more than {_MAX_SHARDS} shards")
    found = [file for name in names for file in _matching(name)]
    if not found:
        raise SourceError(f"{location} names no file")
    return found


def _expand_braces(text: str) -> list[str]:
    pending, done = [text], []
    while pending:
        current = pending.pop()
        match = _BRACES.search(current)
        if match is None:
            done.append(current)
        else:
            head, tail = current[: match.start()], current[match.end() :]
            pending += [head + choice + tail for choice in reversed(_choices(match[1]))]
        if len(pending) + len(done) > _MAX_SHARDS:
            raise SourceError(f"{text} names more than {_MAX_SHARDS} shards")
    return done


def _choices(text: str) -> Sequence[str]:
    numbers = _RANGE.fullmatch(text)
    if numbers is None:
        return text.split(",")
    first, last = int(numbers[1]), int(numbers[2])
    if abs(last - first) >= _MAX_SHARDS:
        raise SourceError(f"{{{text}}} names more than {_MAX_SHARDS} shards")
    padded = any(number[0] == "0" and len(number) > 1 for number in numbers.groups())
    width = max(map(len, numbers.groups())) if padded else 0
    step = 1 if last >= first else -1
    return [f"{number:0{width}}" for number in range(first, last + step, step)]


def _matching(name: str) -> list[str]:
    if is_url(name) or "*" not in name:
        return [name]
    path = Path(name).expanduser().absolute()
    pattern = re.sub(r"[\[?]", r"[\g<0>]", str(path.relative_to(path.anchor)))  # * alone is special
    return sorted(map(str, Path(path.anchor).glob(pattern)))
