"""What all tests of the workspace share."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("slipstream", deadline=None)  # compilation takes the time it takes
settings.load_profile("slipstream")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` where there is no CUDA device."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu:
        import torch

        if not torch.cuda.is_available():
            for item in on_gpu:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
