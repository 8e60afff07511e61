"""Rows for a PyTorch loader that is stopped and goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sqrtspace_streams import Kernel, SqrtSpacePipeline

torch = pytest.importorskip("torch")
torchdata = pytest.importorskip("torchdata.stateful_dataloader")

SIGNAL = np.random.default_rng(1).standard_normal((2_010, 2)).astype("float32")


class Peak(Kernel):
    def init_state(self, shape: Any, dtype: Any) -> dict[str, Any]:
        return {"y": np.zeros(shape[1:])}

    def step(self, x_block: Any, state: dict[str, Any]) -> Any:
        y = np.maximum(state["y"] * 0.9, x_block[0].max(axis=0))
        return y[None], {"y": y}


def pipeline() -> SqrtSpacePipeline:
    """A kernel over a recording of two channels."""
    pipe = SqrtSpacePipeline(window=20, hop=10)
    pipe.kernel("peak")(Peak)
    pipe.bind(SIGNAL)
    return pipe


@pytest.mark.filterwarnings("ignore:.set_vital. is deprecated")  # torchdata calls it
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.timeout(120)
def test_a_loader_goes_on_where_it_was_saved(num_workers: int) -> None:
    """In the middle of a pass, in this process or with workers: no batch twice, none left out."""
    from sqrtspace_streams.adapters.pytorch_windows import WindowDataset

    def loader() -> Any:
        return torchdata.StatefulDataLoader(
            WindowDataset(pipeline, "peak"), batch_size=7, num_workers=num_workers
        )

    expected = [batch.numpy().tobytes() for batch in loader()]
    first, found = loader(), []
    batches = iter(first)
    for _ in range(9):
        found.append(next(batches).numpy().tobytes())
    state = first.state_dict()
    del batches, first
    second = loader()
    second.load_state_dict(state)
    found += [batch.numpy().tobytes() for batch in second]
    assert found == expected
    assert len(expected) >= 29


def test_a_state_of_another_data_set_is_refused() -> None:
    """Another target or range."""
    from sqrtspace_streams.adapters.pytorch_windows import WindowDataset

    state = WindowDataset(pipeline, "peak", (0, 50)).state_dict()
    WindowDataset(pipeline, "peak", (0, 50)).load_state_dict(state)
    for other in (WindowDataset(pipeline, "peak"), WindowDataset(pipeline, "input", (0, 50))):
        with pytest.raises(ValueError, match="this state is of"):
            other.load_state_dict(state)


def test_a_pass_that_was_broken_off_leaves_no_trace() -> None:
    """The next one begins anew; a state is of the pass that was begun last."""
    from sqrtspace_streams.adapters.pytorch_windows import WindowDataset, window_loader

    expected = pipeline().evaluate("peak")
    loader = window_loader(pipeline(), "peak", batch_size=10)
    for _ in range(3):
        assert next(iter(loader)).numpy().tobytes() == expected[:10].tobytes()
    assert sum(map(len, loader)) == len(expected)

    data = WindowDataset(pipeline, "peak", [0, 50])  # type: ignore[arg-type]
    rows = iter(data)
    for _ in range(30):
        next(rows)
    state = data.state_dict()
    again = WindowDataset(pipeline, "peak", (0, 50))
    again.load_state_dict(state)
    assert again.state_dict() == state
    assert len(list(again)) == 20
    assert len(list(again)) == 50
    assert again.state_dict()["next"] is None
    iter(data)
    assert data.state_dict()["next"] == 0


def test_channels_can_be_pushed() -> None:
    """A source for samples of two channels, pushed in pieces, pulled as windows come."""
    from sqrtspace_streams.sources import PushSource

    pipe = pipeline()
    expected = pipe.evaluate("peak")
    pipe.bind(PushSource(400, dtype="float32", item_shape=(2,)))
    found = []
    for start in range(0, len(SIGNAL), 170):
        assert pipe.push_samples(SIGNAL[start : start + 170])
        found.append(pipe.pull_until(pipe.num_windows()))
    assert np.concatenate(found).tobytes() == expected.tobytes()
