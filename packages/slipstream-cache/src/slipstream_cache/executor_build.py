"""Writes the parts of a cache on the workers of an executor: processes, dask, MPI.

The job is pickled once into the cache's directory, which all workers share, and each worker process
loads it once: the task of a part is a few hundred bytes, and so is its result.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from slipstream_cache.errors import BuildWorkerError
from slipstream_cache.part_builder import (
    BuildJob,
    PartResult,
    ReadFailures,
    find_sealed_part,
    write_parts,
)
from slipstream_cache.part_plan import PartRange
from slipstream_cache.publish import JOB_NAME, temporary_path
from slipstream_cache.source import release

_IDLE_S: Final = 60.0
"""A worker without tasks for so long gives up the job: its process may live on for days."""


def write_parts_on(
    executor: Executor,
    job: BuildJob,
    wanted: Sequence[PartRange],
    report: Callable[[int], None],
) -> list[PartResult]:
    """Write and seal parts, one task each; see ``write_parts``.

    Raises
    ------
    BuildWorkerError
        The job cannot be pickled or loaded, or a worker died.
    """
    data = _pickled(job)
    path = temporary_path(job.cache_dir / JOB_NAME)
    digest = hashlib.sha256(data).hexdigest()
    try:
        # for this user's workers alone: a source may hold what gives access to a bucket
        with open(path, "xb", opener=partial(os.open, mode=0o600)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        futures: dict[Future[PartResult], PartRange] = {}
        results: list[PartResult] = []
        try:
            futures = {executor.submit(_write_part, path, digest, part): part for part in wanted}
            for future in as_completed(futures):
                results.append(future.result())
                report(futures[future].num_samples)
        except BrokenExecutor as error:
            sealed = sum(find_sealed_part(job, part) is not None for part in wanted)
            raise BuildWorkerError(
                f"a worker of {type(executor).__name__} died while building {job.cache_dir} "
                f"({error}): killed for lack of memory, perhaps; {sealed} of {len(wanted)} parts "
                "are complete and the next build goes on after them"
            ) from error
        finally:
            for future in futures:
                future.cancel()
            wait(futures)
    finally:
        path.unlink(missing_ok=True)
    return results


def _pickled(job: BuildJob) -> bytes:
    try:
        return pickle.dumps(job, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise BuildWorkerError(
            f"the source {type(job.source).__name__} or the transcode cannot be sent to workers, "
            f"as it cannot be pickled: {error}; build without an executor, or make it picklable "
            "(classes and functions at the top of a module, no open files)"
        ) from error


def _write_part(path: Path, digest: str, part: PartRange) -> PartResult:
    """Write one part; runs in a worker."""
    with _load_job(path, digest).in_use() as job:
        (result,) = write_parts(job, [part], lambda _: None)
    # not every error can be pickled
    return replace(result, cause=None) if isinstance(result, ReadFailures) else result


class _LoadedJob:
    """A job in a worker, which lets go of its source some time after the last task.

    Not at once: the next task goes on where this one has read.
    """

    def __init__(self, job: BuildJob) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._num_tasks = 0
        self._timer: threading.Timer | None = None

    @contextmanager
    def in_use(self) -> Iterator[BuildJob]:
        """Have the job for a task."""
        with self._lock:
            self._num_tasks += 1
            if self._timer is not None:
                self._timer.cancel()
        try:
            yield self._job
        finally:
            with self._lock:
                self._num_tasks -= 1
                if not self._num_tasks:
                    self._timer = threading.Timer(_IDLE_S, self._release)
                    self._timer.daemon = True
                    self._timer.start()

    def _release(self) -> None:
        with self._lock:
            if not self._num_tasks:
                _load_job.cache_clear()
                release(self._job.source)


@lru_cache(maxsize=1)
def _load_job(path: Path, digest: str) -> _LoadedJob:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise BuildWorkerError(
            f"a worker does not see {path}: the directory of the cache must be one that all "
            "workers share, under the same path"
        ) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise BuildWorkerError(f"{path} is not the job that the build has written")
    try:
        job = pickle.loads(data)  # noqa: S301  (its hash came with the task)
    except (AttributeError, ImportError) as error:
        raise BuildWorkerError(
            f"a worker cannot load the source: {error}; it must be able to import the modules "
            "that the source and the transcode are from"
        ) from error
    assert isinstance(job, BuildJob)
    return _LoadedJob(job)
