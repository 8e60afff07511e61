"""Transfers of data sets and caches from and to S3; no features yet."""

from __future__ import annotations

__all__: list[str] = []
