"""The demonstrations of logs and images: their data, stages, and plain baselines."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqrtspace_streams import SqrtSpacePipeline, baselines, demos
from sqrtspace_streams.demos import logs, ml
from sqrtspace_streams.report import is_equivalent

LINES = 90_000


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An access log with an incident of errors and one of slow requests."""
    path = tmp_path_factory.mktemp("demos") / "access.log"
    logs.write_log(path, LINES)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images."""
    path = tmp_path_factory.mktemp("demos") / "images.npy"
    ml.write_images(path, 40)
    return path


def test_unknown_demonstrations_are_named() -> None:
    """What there is is in the message."""
    with pytest.raises(ValueError, match=r"'video'.*'logs'"):
        demos.load("video")


@pytest.mark.parametrize("window", [256, 100])
def test_the_log_is_that_of_the_baseline(log: Path, window: int) -> None:
    """Bytes are equal in either order; alerts are where the incidents are, and only there."""
    plain = baselines.logs(log, window=window)
    for mode in ("classic", "sqrt"):
        pipe = logs.DEMO.pipeline(window=window, hop=window, mode=mode, tile=16)
        pipe.bind(log)
        rows = pipe.evaluate("alerts")
        assert rows.tobytes() == plain.tobytes(), mode
    begins = np.arange(len(plain)) * window
    place = begins % 40_000
    incident = (place > 36_000 + 9 * window) & (place < 40_000 - window)
    calm = (place > 12 * window) & (place < 36_000 - window)
    assert incident.sum() > 10
    assert plain[incident, 2].all()
    assert not plain[calm, 2].any()


def test_lines_are_parsed_or_left_out() -> None:
    """Other paths, other formats and empty lines are zeros."""
    lines = np.array(
        [
            b'10.0.0.1 - - [01/Jan/2026:00:00:00 +0000] "GET /api/items/7 HTTP/1.1" 503 21 900',
            b'10.0.0.1 - - [01/Jan/2026:00:00:00 +0000] "GET /static/7 HTTP/1.1" 200 21 900',
            b'10.0.0.1 - - [01/Jan/2026:00:00:00 +0000] "-" 200 21 900',
            b"",
        ]
    )
    found = logs.parse(lines[None])
    assert found.tolist() == [[[503, 900], [0, 0], [0, 0], [0, 0]]]
    assert logs.parse(lines[None], prefix="/static")[0, 1].tolist() == [200, 900]


def test_rolling_quantiles_are_order_statistics() -> None:
    """Those of NumPy's inverted distribution function over the requests of the last windows."""
    rng = np.random.default_rng(0)
    parsed = rng.integers(1, 10_000, (30, 20, 2)).astype(np.int32)
    parsed[rng.random((30, 20)) < 0.5] = 0
    parsed[10:20] = 0
    quantiles, aggregates = logs.Quantiles(), logs.Aggregates()
    state = quantiles.init_state((20, 2), np.dtype("int32"))
    found, _ = quantiles.step(parsed, state)
    counts, _ = aggregates.step(parsed, state)
    for t in range(30):
        part = parsed[max(t + 1 - logs.LENGTH, 0) : t + 1].reshape(-1, 2)
        times = part[part[:, 0] > 0, 1]
        assert counts[t].tolist() == [
            len(times),
            (part[:, 0] >= 500).sum(),
            times.sum(),
            times.max(initial=0),
        ]
        for column, percent in enumerate(logs.PERCENTS):
            expected = 0
            if len(times):
                expected = np.quantile(times, percent / 100, method="inverted_cdf")
            assert found[t, column] == expected


def test_the_images_are_those_of_the_baseline(images: Path) -> None:
    """In every order; another seed or epoch gives others."""
    plain = baselines.shingles(np.load(images))
    for mode in ("classic", "sqrt"):
        pipe = ml.DEMO.pipeline(window=1, hop=1, mode=mode)
        pipe.bind(images)
        rows = pipe.evaluate("features")
        assert is_equivalent(rows, plain), mode
    assert plain.shape == (40, ml.NUM_SHINGLES, ml.NUM_FEATURES)
    assert not is_equivalent(pipe.evaluate("features", params={"epoch": 1}), plain)
    assert not is_equivalent(baselines.shingles(np.load(images), seed=1), plain)


def test_shingles_are_the_patches_of_the_image() -> None:
    """In rows from the top left corner."""
    image = np.random.default_rng(0).integers(0, 256, (1, 1, 128, 128, 3), np.uint8)
    shingles = ml.tile(image)[0]
    assert len(shingles) == ml.NUM_SHINGLES == 49
    for index, (row, column) in ((0, (0, 0)), (8, (16, 16)), (48, (96, 96))):
        patch = image[0, 0, row : row + 32, column : column + 32]
        np.testing.assert_array_equal(shingles[index], patch)


def pipeline(path: Path) -> SqrtSpacePipeline:
    pipe = ml.DEMO.pipeline(window=1, hop=1, mode="sqrt", max_workers=1)
    pipe.bind(path)
    return pipe


class Bound:
    """Makes a pipeline over a file; can be sent to other processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> SqrtSpacePipeline:
        return pipeline(self.path)


def loaded(loader: Any) -> np.ndarray:
    return np.concatenate([batch.numpy() for batch in loader])


def test_a_loader_gives_every_window_once(images: Path) -> None:
    """Epoch after epoch, over a part of the range, and resumed in the middle of a pass."""
    pytest.importorskip("torch")
    from sqrtspace_streams.adapters.pytorch_windows import WindowDataset, window_loader

    pipe = pipeline(images)
    expected = pipe.evaluate("features")
    loader = window_loader(pipe, "features", batch_size=7)
    for _ in range(3):
        assert loaded(loader).tobytes() == expected.tobytes()
    dataset = WindowDataset(pipe, "features", t_range=(5, 30))
    items = iter(dataset)
    first = [next(items).numpy() for _ in range(9)]
    state = dataset.state_dict()
    items.close()
    again = WindowDataset(Bound(images), "features", t_range=(5, 30))
    again.load_state_dict(state)
    rest = [item.numpy() for item in again]
    assert np.stack(first + rest).tobytes() == expected[5:30].tobytes()
    assert len(list(again)) == 25


@pytest.mark.timeout(120)
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_workers_share_the_windows(images: Path) -> None:
    """Each of two processes takes one part; together they give all windows."""
    pytest.importorskip("torch")
    from torch.utils.data import DataLoader

    from sqrtspace_streams.adapters.pytorch_windows import WindowDataset

    expected = pipeline(images).evaluate("features")
    dataset = WindowDataset(Bound(images), "features")
    loader = DataLoader(dataset, batch_size=5, num_workers=2, multiprocessing_context="fork")
    found = loaded(loader)
    order = np.concatenate(
        [np.arange(i, i + 5) + part for i in range(0, 20, 5) for part in (0, 20)]
    )
    assert found.tobytes() == expected[order].tobytes()


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 5000])
def test_lines_of_a_file_are_samples(tmp_path: Path, end: bytes, count: int) -> None:
    """Any range is that of the whole text, whatever stands at the ends of lines."""
    rng = np.random.default_rng(count)
    lines = [b"x" * int(n) + b"%d" % i for i, n in enumerate(rng.integers(0, 300, count))]
    path = tmp_path / "t.log"
    joint = b"\r\n" if end == b"\r\n" else b"\n"
    path.write_bytes(joint.join(lines) + (end if lines else b""))
    pipe = SqrtSpacePipeline(window=1, hop=1)
    pipe.bind(path)
    source = pipe.source
    assert source.num_samples == count
    for start, stop in [(0, count), *np.sort(rng.integers(0, count + 1, (20, 2))).tolist()]:
        assert source.read(start, stop).tolist() == lines[start:stop]
    pipe.close()


def test_lines_that_are_too_long_or_gone_are_errors(tmp_path: Path) -> None:
    """The message has the file and what to do."""
    from sqrtspace_streams.errors import SourceError
    from sqrtspace_streams.sources import LineSource

    path = tmp_path / "t.txt"
    path.write_bytes(b"short\n" + b"y" * 100_000)
    with pytest.raises(SourceError, match=r"t\.txt.*longest="):
        LineSource(path)
    assert LineSource(path, longest=1 << 20).dtype.itemsize == 100_000
    path.write_bytes(b"a\n" * 1000)
    source = LineSource(path)
    path.write_bytes(b"a\n" * 10)
    with pytest.raises(SourceError, match="1000 lines when it was opened"):
        source.read(0, 1000)
    source.close()
