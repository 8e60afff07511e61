"""Long array pipelines in a small, constant memory; no features yet."""

from __future__ import annotations

__all__: list[str] = []
