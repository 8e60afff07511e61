"""Reading ahead: when it begins, for which batches it asks, and when it ends."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from slipstream_loader.read_ahead import (
    _BATCHES_AT_START,
    _FAULTS_OF_DISK,
    ReadAhead,
    major_faults,
)


class _Disk:
    """Counts faults as it is told, and notes which batches were asked for."""

    def __init__(self, batch_size: int = 64) -> None:
        self.faults = 0
        self.asked: list[int] = []
        self.missing: set[int] = set()
        self.unmapped: list[int] = []
        self.ahead = ReadAhead(self._ask, self._unmap, batch_size, lambda: self.faults)

    def _ask(self, ids: NDArray[np.int64]) -> int:
        self.asked.append(int(ids[0]))
        return int(ids[0]) in self.missing

    def _unmap(self, ids: NDArray[np.int64]) -> None:
        self.unmapped.append(int(ids[0]))

    def make(self, number: int, num_batches: int = 1000) -> list[int]:
        """Batches that are asked for before this one is made."""
        self.asked.clear()
        self.ahead.before(number, num_batches, lambda n: np.array([n]))
        return list(self.asked)


def test_an_epoch_asks_for_each_batch_once_and_ahead_of_time() -> None:
    """All batches, in order, none twice; the first ones at once."""
    disk = _Disk()
    asked = [disk.make(0, 20)]
    disk.faults = _FAULTS_OF_DISK
    asked += [disk.make(number, 20) for number in range(1, 20)]
    assert asked[0] == [0, 1, 2, 3, 4]
    assert asked[1] == [5]
    assert [number for numbers in asked for number in numbers] == list(range(20))


def test_data_in_memory_is_not_asked_for_any_longer() -> None:
    """Without faults it ends after a while, and a few by chance do not begin it again."""
    disk = _Disk()
    for number in range(_BATCHES_AT_START):
        assert disk.make(number)
    assert disk.make(_BATCHES_AT_START) == []
    disk.faults += _FAULTS_OF_DISK - 1
    assert disk.make(_BATCHES_AT_START + 1) == []


def test_faults_begin_it_again_with_the_batch_that_is_made() -> None:
    """Waiting for the disk is noticed at the next batch, and everything within reach asked for."""
    disk = _Disk()
    for number in range(_BATCHES_AT_START + 10):
        disk.make(number)
    disk.faults += 5 * _FAULTS_OF_DISK
    assert disk.make(80) == [80, 81, 82, 83, 84]
    assert disk.make(81) == [85]


def test_only_what_came_from_the_disk_is_unmapped() -> None:
    """Some batches after its use; what was in memory stays mapped."""
    disk = _Disk()
    disk.missing = {2, 3, 7}
    for number in range(12):
        disk.make(number)
    assert disk.unmapped == [2, 3, 7]


def test_faults_between_epochs_are_not_those_of_batches() -> None:
    """Validation, imports and other loaders may fault while an epoch is not running."""
    disk = _Disk()
    for number in range(20):
        disk.make(number, 20)
    disk.faults += 10 * _FAULTS_OF_DISK
    assert disk.make(0, 20) == []
    assert disk.make(1, 20) == []


@pytest.mark.parametrize(("batch_size", "reach"), [(1, 256), (64, 4), (100, 4), (32, 8)])
def test_small_batches_reach_further(batch_size: int, reach: int) -> None:
    """At least 256 samples and four batches are asked for in advance."""
    assert _Disk(batch_size).make(0) == list(range(reach + 1))


def test_the_system_counts_faults() -> None:
    """The count never falls."""
    first = major_faults()
    assert 0 <= first <= major_faults()
