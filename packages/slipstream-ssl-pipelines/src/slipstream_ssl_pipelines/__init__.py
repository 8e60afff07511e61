"""Presets and batch transforms for self-supervised learning; no features yet."""

from __future__ import annotations

__all__: list[str] = []
