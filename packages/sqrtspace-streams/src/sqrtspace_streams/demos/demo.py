"""What a demonstration consists of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import Unpack

from sqrtspace_streams._rows import Array
from sqrtspace_streams.config import Config
from sqrtspace_streams.pipeline import SqrtSpacePipeline


class Demo(ABC):
    """Generated data, a pipeline over it, and the same in plain NumPy."""

    name: ClassVar[str]
    target: ClassVar[str]
    unit: ClassVar[str]
    """What its size is counted in: seconds, lines, images."""
    default_size: ClassVar[float]
    file_name: ClassVar[str]
    window: ClassVar[int]
    hop: ClassVar[int]

    @abstractmethod
    def write(self, path: Path, size: float, *, seed: int = 0) -> None:
        """Generate the data piece by piece into a file."""

    @abstractmethod
    def size_of(self, num_windows: int, window: int, hop: int) -> float:
        """The size that has so many windows."""

    @abstractmethod
    def num_windows(self, size: float, window: int, hop: int) -> int:
        """Full windows in data of a size."""

    @abstractmethod
    def pipeline(self, **config: Unpack[Config]) -> SqrtSpacePipeline:
        """The stages, not bound to data."""

    @abstractmethod
    def plain(self, path: Path, *, window: int, hop: int) -> Array:
        """The rows of the target, without the engine."""

    @abstractmethod
    def title(self, size: float, num_windows: int) -> str:
        """A line about a run."""

    def params(self, window: int) -> dict[str, Any]:  # noqa: ARG002 for some it matters
        """Parameters of the stages."""
        return {}

    def rows(self, pipe: SqrtSpacePipeline, window: int) -> Array:
        """Evaluate the target over all that the pipeline is bound to."""
        return pipe.evaluate(self.target, params=self.params(window))

    def import_libraries(self) -> None:  # noqa: B027 most need none
        """Import what a run needs, so that it is no part of what is measured."""
