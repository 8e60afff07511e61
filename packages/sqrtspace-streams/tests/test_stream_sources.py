"""Sources: arrays, maps, files, sound, tables, functions, iterators."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqrtspace_streams import SqrtSpacePipeline
from sqrtspace_streams.errors import SourceError, StageError, WindowExpiredError
from sqrtspace_streams.sources import (
    CallableSource,
    IteratorSource,
    RawFileSource,
    SoundSource,
    TableSource,
)

SIGNAL = np.random.default_rng(4).standard_normal(3_001).astype("float32")


def spectra(source: Any, **config: Any) -> np.ndarray:
    """What a small pipeline makes of a source."""
    pipe = SqrtSpacePipeline(window=64, hop=20, mode="sqrt", tile=16, **config)
    pipe.stage("spectrum", batch_invariant=True)(lambda x: np.abs(np.fft.rfft(x, axis=1)))
    pipe.bind(source)
    rows = pipe.evaluate("spectrum")
    pipe.close()
    return rows


EXPECTED = spectra(SIGNAL)


def test_npy_raw_and_maps_equal_the_array(tmp_path: Path) -> None:
    """The same samples give the same bytes, wherever they lie."""
    np.save(tmp_path / "x.npy", SIGNAL)
    (tmp_path / "x.raw").write_bytes(SIGNAL.tobytes())
    (tmp_path / "x.dat").write_bytes(b"head" + SIGNAL.tobytes())
    sources = [
        tmp_path / "x.npy",
        str(tmp_path / "x.raw"),
        RawFileSource(tmp_path / "x.dat", "float32", offset=4),
        np.load(tmp_path / "x.npy", mmap_mode="r"),
        np.memmap(tmp_path / "x.raw", "float32", "c"),
        np.repeat(SIGNAL, 2)[::2],
        CallableSource(lambda start, n: SIGNAL[start : start + n], len(SIGNAL)),
        iter(np.array_split(SIGNAL, 7)),
    ]
    for source in sources:
        assert spectra(source).tobytes() == EXPECTED.tobytes(), source


def test_samples_may_have_a_shape(tmp_path: Path) -> None:
    """Channels and images: a window has their axes behind its own."""
    stereo = np.stack([SIGNAL, -SIGNAL], axis=1)
    np.save(tmp_path / "stereo.npy", stereo)
    for source in (stereo, tmp_path / "stereo.npy", iter([stereo])):
        if not isinstance(source, np.ndarray | Path):
            source = IteratorSource(source, item_shape=(2,))
        np.testing.assert_array_equal(spectra(source)[:, :, 1], EXPECTED)


def test_what_was_written_into_a_private_map_is_kept(tmp_path: Path) -> None:
    """Pages behind the cursor are not given back where they hold the user's changes."""
    (tmp_path / "x.raw").write_bytes(np.zeros(100_000, "float32").tobytes())
    private = np.memmap(tmp_path / "x.raw", "float32", "c")
    private[:] = 5
    spectra(private)
    assert (private == 5).all()


def test_a_large_map_does_not_grow_the_process(tmp_path: Path) -> None:
    """A scan of a sparse file of 256 MiB, mapped or read, grows the process by less than 20 MB."""
    path = tmp_path / "sparse.raw"
    with open(path, "wb") as file:
        file.truncate(256 << 20)
    code = f"""
import numpy as np, re
from pathlib import Path
from sqrtspace_streams import SqrtSpacePipeline
def status(key):
    return int(re.search(key + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
def grown(source):
    pipe = SqrtSpacePipeline(window=65536, hop=65536, dtype="float32", mode="sqrt")
    pipe.stage("sum", batch_invariant=True)(lambda x: x.sum(axis=1))
    pipe.bind(source)
    pipe.evaluate("sum", (0, 64))
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    assert not pipe.evaluate("sum").any()
    return status("VmHWM") - before
print(grown({str(path)!r}), grown(np.memmap({str(path)!r}, "float32", "r")))
"""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs /proc/self/clear_refs")
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert all(int(kib) < 20_000 for kib in result.stdout.split()), result.stdout


def test_sound_equals_its_samples(tmp_path: Path) -> None:
    """WAV and FLAC, mono and stereo, read in pieces, equal the whole that soundfile reads."""
    soundfile = pytest.importorskip("soundfile")
    mono = np.clip(SIGNAL / 8, -1, 1)
    for name, data in [("m.wav", mono), ("m.flac", mono), ("s.flac", np.stack([mono, -mono], 1))]:
        soundfile.write(tmp_path / name, data, 48_000)
        expected, rate = soundfile.read(tmp_path / name, dtype="float32")
        source = SoundSource(tmp_path / name)
        assert (source.sample_rate, source.item_shape) == (rate, expected.shape[1:])
        assert spectra(tmp_path / name).tobytes() == spectra(expected).tobytes()
        np.testing.assert_array_equal(source.read(100, 200), expected[100:200])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_processes_read_sound_alone(tmp_path: Path) -> None:
    """Whatever one of them reads, the others go on where they were."""
    soundfile = pytest.importorskip("soundfile")
    for name in ("m.wav", "m.flac"):
        soundfile.write(tmp_path / name, (np.arange(60_000) % 30_000).astype("int16"), 8_000)
    code = """
import os, sys
from sqrtspace_streams.sources import SoundSource
for name in sys.argv[1:]:
    source = SoundSource(name, dtype="int16")
    source.read(0, 1000)
    child = os.fork()
    if not child:
        found = [source.read(t, t + 1000)[0] for t in (1000, 2000, 20_000)]
        os._exit(0 if found == [1000, 2000, 20_000] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert source.read(1000, 1004).tolist() == [1000, 1001, 1002, 1003], name
    assert source.read(1004, 1005).tolist() == [1004]
"""
    paths = [str(tmp_path / name) for name in ("m.wav", "m.flac")]
    command = [sys.executable, "-c", code, *paths]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_tables_are_structured_samples(tmp_path: Path) -> None:
    """Columns keep their types, text becomes objects, in any order of row groups."""
    pyarrow = pytest.importorskip("pyarrow")
    csv, parquet = (importlib.import_module(f"pyarrow.{name}") for name in ("csv", "parquet"))
    table = pyarrow.table(
        {
            "ms": np.arange(100, dtype="float32"),
            "status": np.tile([200, 404], 50),
            "line": [f"GET /{i}" for i in range(100)],
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=13)
    csv.write_csv(table, tmp_path / "t.csv")

    for name in ("t.parquet", "t.csv"):
        pipe = SqrtSpacePipeline(window=10, hop=5, mode="sqrt", tile=3, block_rows=3)

        @pipe.stage("slow")
        def slow(x: np.ndarray) -> np.ndarray:
            return np.stack([x["ms"].mean(axis=1), (x["status"] == 404).sum(axis=1)], axis=1)

        @pipe.stage("text", vectorized=False)
        def text(x: np.ndarray) -> np.ndarray:
            return np.array(sum(line.endswith("7") for line in x["line"]))

        pipe.bind(tmp_path / name)
        starts = np.arange(19) * 5
        np.testing.assert_allclose(pipe.evaluate("slow")[:, 0], starts + 4.5)
        assert set(pipe.evaluate("slow")[:, 1]) == {5}
        assert pipe.evaluate("text").tolist() == [1] * 19
    single = TableSource(tmp_path / "t.parquet", ["status"])
    assert single.read(40, 60).tolist() == [200, 404] * 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: RawFileSource(p / "odd.raw", "float64"), "whole number"),
        (lambda p: RawFileSource(p / "odd.raw", object), "Python objects"),
        (lambda p: p / "no.npy", "not a .npy file"),
        (lambda p: p / "cut.npy", "cut off|whole number"),
        (lambda p: p / "fortran.npy", "C order"),
        (lambda p: p / "no.wav", "as sound"),
        (lambda p: p / "no.parquet", "as parquet"),
        (lambda p: p / "what.xyz", "unknown ending '.xyz'"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, make: Any, message: str) -> None:
    """The message has the path and what is wrong with it."""
    (tmp_path / "odd.raw").write_bytes(b"12345")
    for name in ("no.npy", "no.wav", "no.parquet"):
        (tmp_path / name).write_bytes(b"not what it says")
    np.save(tmp_path / "cut.npy", SIGNAL)
    with open(tmp_path / "cut.npy", "r+b") as file:
        file.truncate(1_001)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(np.zeros((3, 4))))
    with pytest.raises(SourceError, match=message) as caught:
        SqrtSpacePipeline().bind(make(tmp_path))
    assert re.search(r"\.(raw|npy|wav|parquet|xyz)", str(caught.value))


def test_a_missing_table_column_is_named(tmp_path: Path) -> None:
    """The error has the columns that there are."""
    pytest.importorskip("pyarrow")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match="'c'"):
        TableSource(tmp_path / "t.csv", ["c"])


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    """What was promised and is gone is not made up."""
    path = tmp_path / "x.raw"
    path.write_bytes(SIGNAL.tobytes())
    source = RawFileSource(path, "float32")
    with open(path, "r+b") as file:
        file.truncate(400)
    with pytest.raises(SourceError, match="ended at sample 100"):
        source.read(50, 200)
    source.close()


@pytest.mark.parametrize("answer", [SIGNAL[:5], SIGNAL[:20].astype("float64"), 3.0])
def test_a_function_keeps_its_promise(answer: Any) -> None:
    """Samples of another number, type or shape are refused."""
    with pytest.raises(SourceError, match="the source function returned"):
        CallableSource(lambda start, n: answer, 100).read(0, 20)


def test_an_endless_stream_needs_a_range() -> None:
    """Without an end there is no whole; ranges work."""
    pipe = SqrtSpacePipeline(window=4, hop=4)
    pipe.stage("sum", batch_invariant=True)(lambda x: x.sum(axis=1))
    pipe.bind(lambda start, n: np.arange(start, start + n, dtype="float32"))
    assert pipe.evaluate("sum", (10, 12)).tolist() == [166, 182]
    with pytest.raises(ValueError, match="no end"):
        pipe.evaluate("sum")
    with pytest.raises(ValueError, match="not known"):
        pipe.num_windows()


def test_an_iterator_is_read_as_far_as_needed() -> None:
    """Later chunks are not asked for; windows far behind are an error that says so."""
    taken = []

    def chunks() -> Any:
        for i in range(100):
            taken.append(i)
            yield np.full(10, i, "float32")

    pipe = SqrtSpacePipeline(window=10, hop=10, input_buffer_blocks=4, tile=8, block_rows=1)
    pipe.stage("first", batch_invariant=True)(lambda x: x[:, 0])
    pipe.bind(chunks())
    assert pipe.evaluate("first", (0, 20)).tolist() == list(range(20))
    assert len(taken) <= 21
    assert pipe.evaluate("first", (18, 30)).tolist() == list(range(18, 30))
    with pytest.raises(WindowExpiredError, match="window 3"):
        pipe.evaluate("first", (3, 30))
    assert pipe.evaluate("first").tolist()[-1] == 99


def from_iterator(first: Any, **config: Any) -> SqrtSpacePipeline:
    pipe = SqrtSpacePipeline(window=4, hop=4, input_buffer_blocks=2, **config)
    pipe.stage("first", check=False)(first)
    pipe.bind(iter(np.split(SIGNAL[:3000], 100)))
    return pipe


def test_a_plan_takes_nothing_from_an_iterator() -> None:
    """The windows that it measures are there for the question after it."""
    pipe = from_iterator(lambda x: x[:, 0])
    assert pipe.plan("first").mode == "sqrt"
    assert pipe.evaluate("first").tobytes() == SIGNAL[:3000:4].tobytes()


def test_a_pull_that_failed_can_be_tried_again() -> None:
    """Of an iterator as well, whose samples go once a pull has succeeded for all targets."""
    failures = [RuntimeError("once")]

    def first(x: np.ndarray) -> np.ndarray:
        if failures and x[0, 0] == SIGNAL[1600]:
            raise failures.pop()
        return x[:, 0]

    pipe = from_iterator(first)
    pipe.stage("last")(lambda x: x[:, -1])
    assert len(pipe.pull_until(0, "first")) == 0
    assert len(pipe.pull_until(10, "last")) == 10
    with pytest.raises(StageError, match="once"):
        pipe.pull_until(700, "first")
    assert pipe.pull_until(700, "first").tobytes() == SIGNAL[:2800:4].tobytes()
    assert pipe.pull_until(700, "last").tobytes() == SIGNAL[43:2800:4].tobytes()
    assert pipe.source.oldest > 2700


def _failing(error: BaseException) -> Any:
    yield SIGNAL[:600]
    raise error


@pytest.mark.parametrize(
    ("chunks", "error"),
    [
        (lambda: _failing(ConnectionError("gone")), ConnectionError),
        (lambda: _failing(KeyboardInterrupt()), KeyboardInterrupt),
        (lambda: iter([SIGNAL[:600], SIGNAL[:5].astype("float64"), SIGNAL]), TypeError),
        (lambda: iter([SIGNAL[:600], SIGNAL[:6].reshape(2, 3), SIGNAL]), ValueError),
    ],
)
def test_a_failed_iterator_stays_failed(chunks: Any, error: type[BaseException]) -> None:
    """What came before can be asked for; what would follow is neither the end nor the next."""
    pipe = SqrtSpacePipeline(window=4, hop=4, input_buffer_blocks=1000)
    pipe.stage("first")(lambda x: x[:, 0])
    pipe.bind(chunks())
    with pytest.raises(error):
        pipe.evaluate("first")
    for _ in range(2):
        with pytest.raises(SourceError, match=f"after 600 samples, with {error.__name__}"):
            pipe.evaluate("first")
    assert pipe.evaluate("first", (100, 150)).tobytes() == SIGNAL[400:600:4].tobytes()


def test_a_source_that_is_none_is_refused() -> None:
    """Numbers are no source."""
    with pytest.raises(TypeError, match="int is no source"):
        SqrtSpacePipeline().bind(3)  # type: ignore[arg-type]
