"""Batches made ahead: order, bounds, failures, and threads that end."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from slipstream_loader.prefetch import PrefetchIterator, division_of_threads
from slipstream_loader.telemetry import Telemetry

pytestmark = pytest.mark.timeout(60)


def _iterator(
    make: Callable[[int], int], num_batches: int, ahead: int = 3
) -> PrefetchIterator[int]:
    return PrefetchIterator(make, num_batches, ahead, min(2, ahead), Telemetry())


def _batch_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("slipstream-batch")]


def _assert_threads_end() -> None:
    deadline = time.monotonic() + 20
    while _batch_threads():
        assert time.monotonic() < deadline, "a thread is left"
        time.sleep(0.01)


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_batches_come_in_order(ahead: int) -> None:
    """Also when later ones are made faster than earlier ones."""

    def make(number: int) -> int:
        time.sleep(0.005 if number % 3 == 0 else 0)
        return number

    assert list(_iterator(make, 20, ahead)) == list(range(20))
    assert list(_iterator(make, 0, ahead)) == []
    _assert_threads_end()


def test_no_more_than_ahead_are_made_in_advance() -> None:
    """A slow consumer bounds the memory: one in hand and ``ahead`` waiting."""
    made: list[int] = []
    iterator = _iterator(lambda number: made.append(number) or number, 50, ahead=3)
    for taken in range(5):
        next(iterator)
        time.sleep(0.05)
        assert len(made) <= taken + 1 + 3
    iterator.close()


def test_a_failure_comes_in_its_turn_and_ends_the_iteration() -> None:
    """Earlier batches first, then the error itself, then the end; no thread is left."""

    def make(number: int) -> int:
        if number == 2:
            raise LookupError("batch two")
        time.sleep(0.02)
        return number

    iterator = _iterator(make, 10)
    assert [next(iterator), next(iterator)] == [0, 1]
    with pytest.raises(LookupError, match="batch two"):
        next(iterator)
    assert list(iterator) == []
    _assert_threads_end()


def test_closing_early_waits_for_the_threads() -> None:
    """After close nothing is running; the iterator is at its end."""
    iterator = _iterator(lambda number: time.sleep(0.02) or number, 100)
    next(iterator)
    iterator.close()
    assert not _batch_threads()
    assert list(iterator) == []


@pytest.mark.parametrize("ahead", [1, 3])
def test_closing_from_another_thread_ends_a_waiting_next(ahead: int) -> None:
    """Whether the batch that is waited for was begun or not: it is the end, and no error."""
    begun, release, ended = threading.Event(), threading.Event(), list[str]()

    def make(number: int) -> int:
        begun.set()
        release.wait(20)
        return number

    iterator = _iterator(make, 10, ahead)

    def consume() -> None:
        try:
            next(iterator)
        except BaseException as error:  # noqa: BLE001
            ended.append(type(error).__name__)

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert begun.wait(20)
    closer = threading.Thread(target=iterator.close)
    closer.start()
    deadline = time.monotonic() + 20
    while iterator._pending and time.monotonic() < deadline:
        time.sleep(0.01)
    release.set()
    consumer.join(20)
    closer.join(20)
    assert ended == ["StopIteration"]
    _assert_threads_end()


def test_closing_ends_a_next_whose_batch_was_not_begun() -> None:
    """A batch that is taken out of the queue is the end too."""
    release = threading.Event()
    iterator = _iterator(lambda number: release.wait(20) and number, 10, ahead=1)
    waiting: Future[tuple[int | None, float]] = Future()
    iterator._pending[0] = waiting
    waiting.cancel()
    with pytest.raises(StopIteration):
        next(iterator)
    release.set()
    iterator.close()


def test_a_forgotten_iterator_stops_its_threads() -> None:
    """``break`` out of a loop, and the iterator is collected."""
    for number in _iterator(lambda number: number, 1000):
        if number == 3:
            break
    gc.collect()
    _assert_threads_end()


def test_an_interrupt_while_waiting_loses_no_batch() -> None:
    """Ctrl-C in ``next()`` leaves the batch for the next call."""
    release = threading.Event()
    iterator = _iterator(lambda number: release.wait(20) and number, 3, ahead=1)
    pending = iterator._pending[0]
    original = pending.exception

    def interrupted(timeout: float | None = None) -> BaseException | None:
        pending.exception = original  # type: ignore[method-assign]
        raise KeyboardInterrupt

    pending.exception = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        next(iterator)
    release.set()
    assert list(iterator) == [0, 1, 2]


@pytest.mark.parametrize(
    ("num_threads", "ahead", "makers", "each"),
    [(1, 3, 1, 1), (2, 3, 2, 1), (2, 1, 1, 2), (3, 3, 2, 3), (16, 1, 1, 16)],
)
def test_threads_are_divided(num_threads: int, ahead: int, makers: int, each: int) -> None:
    """Few threads make whole batches each, many make a batch together."""
    assert division_of_threads(num_threads, ahead) == (makers, each)
