"""What the package offers, and what it needs."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from typing import Any

import pytest

import slipstream_cache
from slipstream_cache import CacheError, errors


def test_all_is_sorted_complete_and_documented() -> None:
    """Every public name is there once, and says what it is."""
    names = slipstream_cache.__all__
    assert names == sorted(set(names))
    for name in names:
        thing = getattr(slipstream_cache, name)
        assert not callable(thing) or inspect.getdoc(thing) or name == "Transcode"


def test_torch_is_not_imported() -> None:
    """The package works where torch is not installed."""
    script = """
import sys
sys.modules["torch"] = None
import slipstream_cache
from slipstream_cache.testing import MemorySource
import tempfile
with tempfile.TemporaryDirectory() as folder:
    cache = slipstream_cache.build(MemorySource([{"x": 1}]), folder + "/c")
    assert cache[0] == {"x": 1}
assert not [name for name in sys.modules if name.split(".")[0] in ("torchvision", "PIL")]
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


ERRORS = [
    thing
    for thing in vars(errors).values()
    if isinstance(thing, type) and issubclass(thing, CacheError) and thing is not CacheError
]


@pytest.mark.parametrize("error", ERRORS)
def test_errors_are_builtins_too_and_cross_processes(error: Any) -> None:
    """Each error is exported, is a builtin as well, and keeps its message in a pickle."""
    assert error.__name__ in slipstream_cache.__all__
    assert any(base.__module__ == "builtins" for base in error.__bases__)
    assert str(pickle.loads(pickle.dumps(error("what and where")))) == "what and where"


def test_sample_ids_of_errors_cross_processes() -> None:
    """The samples that an error names survive pickling and copying."""
    error = errors.SourceReadError("two", [3, 5])
    assert pickle.loads(pickle.dumps(error)).sample_ids == [3, 5]
    assert copy.copy(error).sample_ids == [3, 5]
