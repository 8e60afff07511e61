"""How a source that is named by a path or URL is reached, apart from where it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class AccessOptions:
    """What opening a source may need; each has a default that suits most."""

    storage_options: Mapping[str, Any] | None = None
    """Of an object store: endpoint, credentials, profile; see ``open_object_store``."""
    expected_version: str | None = None
    """The version that a LitData data set should have."""
    cache_root: Path | None = None
    """Directory of the caches, beside which a source may keep what it needs."""

    @property
    def given(self) -> list[str]:
        """Names of the options that only some sources understand and that were given."""
        names = ("storage_options", "expected_version")
        return [name for name in names if getattr(self, name) is not None]


NO_OPTIONS = AccessOptions()
