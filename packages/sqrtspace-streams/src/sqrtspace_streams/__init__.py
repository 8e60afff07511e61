"""Long array pipelines in a small, constant memory, with exact replay."""

from __future__ import annotations

from sqrtspace_streams.config import Config
from sqrtspace_streams.pipeline import Kernel, SqrtSpacePipeline

__all__ = ["Config", "Kernel", "SqrtSpacePipeline"]
