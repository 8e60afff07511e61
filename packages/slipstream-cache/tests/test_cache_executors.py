"""Builds on executors: processes, dask and MPI write the same bytes as threads do."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import shutil
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from slipstream_cache import (
    BuildWorkerError,
    CacheWriteError,
    FieldTypeError,
    SourceReadError,
    build,
    executor_build,
    layout,
)
from slipstream_cache.testing import MemorySource, make_jpeg, read_tree

pytestmark = pytest.mark.timeout(120)

SAMPLES: list[Any] = [
    {"image": make_jpeg(i + 1, 9, body=bytes([i]) * i), "label": i, "path": f"{i}.jpg"}
    for i in range(100)
]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 8 samples: the plan is made here, and the workers follow it."""
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", 8)


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Two new interpreters."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_processes_write_the_same_bytes(tmp_path: Path, processes: Executor) -> None:
    """One thread, sixteen threads, and two processes build the same directory."""
    calls: list[tuple[int, int]] = []
    source = MemorySource(SAMPLES)
    build(source, tmp_path / "one", num_workers=1)
    build(source, tmp_path / "many", num_workers=16)
    build(
        source,
        tmp_path / "processes",
        executor=processes,
        progress=lambda *call: calls.append(call),
    )
    assert read_tree(tmp_path / "processes") == read_tree(tmp_path / "one")
    assert read_tree(tmp_path / "many") == read_tree(tmp_path / "one")
    assert calls == sorted(calls)
    assert calls[-1] == (100, 100)


def test_a_thread_pool_is_an_executor_like_others(tmp_path: Path) -> None:
    """Any executor will do; sealed parts of an earlier attempt are kept."""
    with pytest.raises(ZeroDivisionError):
        build(MemorySource([*SAMPLES[:99], ZeroDivisionError()]), tmp_path / "c")
    sealed = sorted(p for p in (tmp_path / "c").iterdir() if p.is_dir())
    stamps = [path.stat().st_mtime_ns for path in sealed]
    assert len(sealed) >= 10
    with ThreadPoolExecutor(3) as pool:
        build(MemorySource(SAMPLES), tmp_path / "c", executor=pool)
    assert [path.stat().st_mtime_ns for path in sealed] == stamps
    build(MemorySource(SAMPLES), tmp_path / "d")
    assert read_tree(tmp_path / "c") == read_tree(tmp_path / "d")


class _Closed(MemorySource):
    """Tells which objects let go of what they hold, in this process."""

    closed: ClassVar[set[int]] = set()

    def close(self) -> None:
        self.closed.add(id(self))


def test_workers_let_go_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time after the last task, a worker's copy of the source is closed too."""
    monkeypatch.setattr(executor_build, "_IDLE_S", 0.2)
    source = _Closed(SAMPLES)
    with ThreadPoolExecutor(1) as pool:
        build(source, tmp_path / "c", executor=pool)
        end = time.monotonic() + 60
        while len(_Closed.closed) < 2 or executor_build._load_job.cache_info().currsize:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert id(source) in _Closed.closed


class _Watched(ThreadPoolExecutor):
    """Notes who may read the job."""

    modes: list[int]

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.modes.append(next(a for a in args if isinstance(a, Path)).stat().st_mode & 0o777)
        return super().submit(fn, *args, **kwargs)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_the_job_is_for_its_user_alone(tmp_path: Path) -> None:
    """A source may hold credentials: nobody else reads its pickle, and none is left."""
    source = MemorySource([{"label": i} for i in range(5)])
    with _Watched(1) as executor:
        executor.modes = []
        build(source, tmp_path / "slipcache-0", executor=executor)
    assert set(executor.modes) == {0o600}
    assert not [path for path in tmp_path.rglob("*job*") if path.is_file()]


def test_small_caches_on_processes(tmp_path: Path, processes: Executor) -> None:
    """No sample and one sample are fine."""
    for count in (0, 1):
        source = MemorySource(SAMPLES[:count], MemorySource(SAMPLES).field_types)
        assert len(build(source, tmp_path / f"{count}", executor=processes)) == count


def test_errors_come_back_from_workers(tmp_path: Path, processes: Executor) -> None:
    """Samples that cannot be read are named together, wrong values one by one."""
    given = list(SAMPLES)
    for i in (11, 13, 40):
        given[i] = PermissionError(13, "Permission denied")
    with pytest.raises(SourceReadError, match=r"3 of 100 samples(?s:.)*item 40") as caught:
        build(MemorySource(given), tmp_path / "c", executor=processes)
    assert caught.value.sample_ids == [11, 13, 40]
    names = {path.name for path in (tmp_path / "c").iterdir()}
    broken = {1, 5}
    assert names == {"build.json", *(f"part-{k:05d}" for k in range(13) if k not in broken)}
    given = [*SAMPLES[:50], {**SAMPLES[50], "label": "x"}, *SAMPLES[51:]]
    with pytest.raises(FieldTypeError, match="'label' of sample 50"):
        build(MemorySource(given), tmp_path / "d", executor=processes)
    for name in ("c", "d"):
        build(MemorySource(SAMPLES), tmp_path / name, executor=processes)
    assert read_tree(tmp_path / "c") == read_tree(tmp_path / "d")


def test_a_source_that_cannot_be_pickled_is_told(tmp_path: Path, processes: Executor) -> None:
    """The error says what, and what to do; nothing is left but the journal."""
    source = MemorySource(SAMPLES)
    source.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(BuildWorkerError, match=r"MemorySource .* cannot be pickled: .*lock"):
        build(source, tmp_path / "c", executor=processes)
    with pytest.raises(BuildWorkerError, match="transcode"):
        build(MemorySource(SAMPLES), tmp_path / "c", transcode=lambda *_: None, executor=processes)  # type: ignore[arg-type, return-value]
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["build.json"]


class _Missing(MemorySource):
    """A source whose class the workers do not find."""


def test_a_source_that_workers_cannot_import_is_told(
    tmp_path: Path, processes: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class that exists in this process alone is an error of the worker that says so."""
    module = type(sys)("module_of_this_process")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(_Missing, "__module__", module.__name__)
    module._Missing = _Missing  # type: ignore[attr-defined]
    with pytest.raises(BuildWorkerError, match=r"cannot load the source.*module_of_this_process"):
        build(_Missing(SAMPLES), tmp_path / "c", executor=processes)


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A class of sources in a module that workers can import.

    It kills, as the system does when memory runs out, the first process that reads sample 51.
    """
    (tmp_path / "deadly_source.py").write_text(
        textwrap.dedent("""
            import os, signal
            from pathlib import Path
            from slipstream_cache.testing import MemorySource

            class Deadly(MemorySource):
                marker = ""

                def __getitem__(self, index):
                    if index == 51 and not os.path.exists(self.marker):
                        Path(self.marker).touch()
                        os.kill(os.getpid(), signal.SIGKILL)
                    return super().__getitem__(index)
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    source = importlib.import_module("deadly_source").Deadly(SAMPLES)
    source.marker = str(tmp_path / "somebody died")
    yield source
    del sys.modules["deadly_source"]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_worker_that_dies_is_told_and_loses_nothing(tmp_path: Path, deadly: Any) -> None:
    """Sealed parts stay, and the next build ends with the same bytes."""
    with (
        ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool,
        pytest.raises(BuildWorkerError, match=r"worker of ProcessPoolExecutor died.* of 13 parts"),
    ):
        build(deadly, tmp_path / "c", executor=pool)
    sealed = [path.parent for path in (tmp_path / "c").glob("part-?????/part.json")]
    stamps = {path: path.stat().st_mtime_ns for path in sealed}
    assert len(stamps) >= 5
    build(MemorySource(SAMPLES), tmp_path / "c")
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    build(MemorySource(SAMPLES), tmp_path / "d")
    assert read_tree(tmp_path / "c") == read_tree(tmp_path / "d")


def test_a_full_disk_of_a_worker_is_told(tmp_path: Path) -> None:
    """A write error in a worker is the same error as in a thread."""
    resource = pytest.importorskip("resource", reason="needs resource limits")
    given = [*SAMPLES[:50], {**SAMPLES[50], "path": "x" * 100_000}, *SAMPLES[51:]]
    context = multiprocessing.get_context("spawn")
    limit = (resource.RLIMIT_FSIZE, (20_000, 20_000))
    with (
        ProcessPoolExecutor(1, context, resource.setrlimit, limit) as pool,
        pytest.raises(CacheWriteError, match="File too large"),
    ):
        build(MemorySource(given), tmp_path / "c", executor=pool)
    build(MemorySource(SAMPLES), tmp_path / "c")
    build(MemorySource(SAMPLES), tmp_path / "d")
    assert read_tree(tmp_path / "c") == read_tree(tmp_path / "d")


def test_dask_writes_the_same_bytes(tmp_path: Path, deadly: Any) -> None:
    """Worker processes behind a scheduler build the same directory, also when one of them dies."""
    distributed = pytest.importorskip("distributed", reason="needs dask.distributed")
    build(MemorySource(SAMPLES), tmp_path / "threads")
    with warnings.catch_warnings(), logging_disabled():
        warnings.simplefilter("ignore")  # of dask itself: ports, sockets
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            build(deadly, tmp_path / "dask", executor=client.get_executor())
    assert Path(deadly.marker).exists()
    assert read_tree(tmp_path / "dask") == read_tree(tmp_path / "threads")


@contextmanager
def logging_disabled() -> Iterator[None]:
    """Silence what dask says of the worker that dies, on whatever stream it has found."""
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def test_mpi_writes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mpi4py's pool builds the same directory."""
    futures = pytest.importorskip("mpi4py.futures", reason="needs mpi4py and an MPI library")
    scripts = str(Path(sys.executable).parent)  # mpiexec is there, also if nobody activated them
    monkeypatch.setenv("PATH", scripts, prepend=os.pathsep)
    if shutil.which("mpiexec") is None:
        pytest.skip("needs the launcher of MPI on PATH, and waits for it without an end")
    build(MemorySource(SAMPLES), tmp_path / "threads")
    with futures.MPIPoolExecutor(2) as pool:
        build(MemorySource(SAMPLES), tmp_path / "mpi", executor=pool)
    assert read_tree(tmp_path / "mpi") == read_tree(tmp_path / "threads")
