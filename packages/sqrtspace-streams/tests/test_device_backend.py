"""The CuPy backend over a device that is none: what is copied, and that results are the same."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sqrtspace_streams import SqrtSpacePipeline

SIGNAL = np.random.default_rng(5).standard_normal(4_000).astype("float32")


class DeviceArray(np.ndarray):
    """An array that only the device's functions may make, and that says where it is."""


class FakeCupy(ModuleType):
    """The few names of CuPy that the backend uses; copies are counted in bytes."""

    ndarray = DeviceArray

    def __init__(self) -> None:
        super().__init__("cupy")
        self.uploaded: list[int] = []
        self.downloaded: list[int] = []
        runtime = SimpleNamespace(getDeviceCount=lambda: 1, CUDARuntimeError=RuntimeError)
        self.cuda = SimpleNamespace(runtime=runtime)

    def asarray(self, array: Any) -> DeviceArray:
        assert not isinstance(array, DeviceArray)
        self.uploaded.append(array.nbytes)
        return np.array(array).view(DeviceArray)

    def asnumpy(self, array: Any) -> np.ndarray:
        if isinstance(array, DeviceArray):
            self.downloaded.append(array.nbytes)
        return np.array(array).view(np.ndarray)


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> FakeCupy:
    """In the place of the library."""
    module = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def build(**config: Any) -> SqrtSpacePipeline:
    pipe = SqrtSpacePipeline(**{"window": 32, "hop": 10, "max_workers": 1, "tile": 64, **config})

    def on_device(x: Any) -> Any:
        assert config.get("backend") != "cupy" or type(x) is DeviceArray
        return x

    pipe.stage("half", batch_invariant=True)(lambda x: on_device(x) / 2)
    pipe.stage("square", ["half"], batch_invariant=True)(lambda x: on_device(x) ** 2)
    pipe.stage("near", ["square"], context=(1, 1))(lambda x: on_device(x)[1:-1] - x[2:])
    pipe.stage("energy", ["square", "near"])(lambda a, b: (on_device(a) + b).max(axis=1))
    pipe.bind(SIGNAL)
    return pipe


@pytest.mark.parametrize("mode", ["classic", "sqrt"])
def test_results_are_those_of_numpy(cupy: FakeCupy, mode: str) -> None:
    """Stages see device arrays alone, and results come back as NumPy's."""
    rows = build(mode=mode, backend="cupy").evaluate("energy")
    assert type(rows) is np.ndarray
    assert rows.tobytes() == build(mode=mode).evaluate("energy").tobytes()
    assert cupy.uploaded


def test_what_is_on_the_device_is_not_copied_there_again(cupy: FakeCupy) -> None:
    """A chain of stages uploads its input once, and keeps no array longer than its rows."""
    pipe = build(mode="sqrt", backend="cupy", lru_bytes=0)
    pipe.evaluate("square")  # tries purity, and measures
    cupy.uploaded.clear()
    cupy.downloaded.clear()
    pipe.reset()
    rows = pipe.evaluate("square")
    windows = len(rows) * 32 * 4
    assert sum(cupy.uploaded) == windows
    assert sum(cupy.downloaded) == 2 * windows
    backend: Any = pipe._backend
    del rows
    assert len(backend._on_device) <= 1
