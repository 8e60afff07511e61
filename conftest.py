"""Fixtures for the tests of all packages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The first call of a kernel compiles it: no test has a deadline, hanging ones meet pytest-timeout.
settings.register_profile("slipstream", deadline=None)
settings.load_profile("slipstream")

_PHOTOS_VARIABLE = "SLIPSTREAM_TEST_PHOTOS"


@pytest.fixture(scope="session")
def photo_folder() -> Path:
    """A folder of real photos, one folder a class; the test is skipped where there is none."""
    default = Path(__file__).parent.parent / "shared" / "data" / "photos"
    folder = Path(os.environ.get(_PHOTOS_VARIABLE, default))
    if not folder.is_dir():
        pytest.skip(f"no real photos: set {_PHOTOS_VARIABLE} to a folder of them")
    return folder


@pytest.fixture(scope="session")
def photos(photo_folder: Path) -> list[Path]:
    """The photos of ``photo_folder`` in sorted order."""
    suffixes = {".jpg", ".jpeg"}
    return sorted(p for p in photo_folder.rglob("*") if p.suffix.lower() in suffixes)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` where there is no CUDA device."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu:
        import torch

        if not torch.cuda.is_available():
            for item in on_gpu:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
