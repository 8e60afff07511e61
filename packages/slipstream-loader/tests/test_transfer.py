"""Batches made on a CUDA stream of their own: nobody's memory is given away too early.

The machine of the first tests is a model: CUDA streams that run late, and an allocator that gives
the memory of a stream's dropped tensors to its next one, as torch's caching allocator does.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from slipstream_decoders import (
    DecodeCenterCrop,
    DecodeMultiRandomResizedCrop,
    MultiCropPipeline,
    Normalize,
)
from slipstream_loader import transfer as module
from slipstream_loader.transfer import (
    CpuTransfer,
    CudaTransfer,
    Delivery,
    device_of,
    on_device,
    transfer_to,
)

CUDA = torch.device("cuda", 0)


class _Stream:
    """Work that waits until somebody runs it."""

    def __init__(self) -> None:
        self._work: list[Callable[[], bool]] = []
        self.done = 0

    @property
    def asked(self) -> int:
        return self.done + len(self._work)

    def ask(self, work: Callable[[], Any]) -> None:
        self._work.append(lambda: work() or True)

    def record_event(self) -> Callable[[], bool]:
        goal = self.asked
        return lambda: self.done >= goal

    def wait_event(self, event: Callable[[], bool]) -> None:
        self._work.append(event)

    def run(self) -> None:
        while self._work and self._work[0]():
            self._work.pop(0)
            self.done += 1


class _Allocator:
    """Memory of one stream; what is dropped is given out again at once, but for recorded uses."""

    def __init__(self) -> None:
        self._free: list[tuple[list[int], list[Callable[[], bool]]]] = []

    def tensor(self) -> _Tensor:
        usable = [entry for entry in self._free if all(event() for event in entry[1])]
        if usable:
            self._free.remove(usable[0])
        memory = usable[0][0] if usable else [0]
        tensor: _Tensor = torch.empty(0).as_subclass(_Tensor)
        tensor.memory, tensor.users = memory, []
        weakref.finalize(tensor, self._dropped, memory, tensor.users)
        return tensor

    def _dropped(self, memory: list[int], users: list[_Stream]) -> None:
        self._free.append((memory, [user.record_event() for user in users]))


class _Tensor(torch.Tensor):
    memory: list[int]
    users: list[_Stream]

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def record_stream(self, stream: Any) -> None:
        self.users.append(stream)


class _WithoutRecord(CudaTransfer):
    def receive(self, delivery: Delivery) -> Any:
        if delivery.ready is not None:
            torch.cuda.current_stream(CUDA).wait_event(delivery.ready)
        return delivery.batch


class _WithoutEvent(CudaTransfer):
    def receive(self, delivery: Delivery) -> Any:
        return super().receive(Delivery(delivery.batch))


def _numbers_seen(
    transfer: CudaTransfer, is_eager: bool, monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Two batches as the consumer's stream sees them, which is early or late."""
    own, consumer, allocator, seen = _Stream(), _Stream(), _Allocator(), list[int]()

    @contextmanager
    def current(stream: _Stream) -> Iterator[None]:
        yield

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: own)
    monkeypatch.setattr(torch.cuda, "stream", current)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: consumer)
    for number in (1, 2):

        def make(number: int = number) -> dict[str, Any]:
            image = allocator.tensor()
            memory = image.memory
            own.ask(lambda: memory.__setitem__(0, number))
            return {"image": image, "views": [{"a": image}], "label": "text"}

        batch = transfer.receive(transfer.prepare(make))
        memory = batch["image"].memory
        consumer.ask(lambda memory=memory: seen.append(memory[0]))
        del batch
        if is_eager:
            consumer.run()
    own.run()
    consumer.run()
    return seen


@pytest.mark.parametrize("is_eager", [False, True])
def test_a_reader_sees_its_own_batch(is_eager: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is not read before it is written, nor written to before a late reader has read it."""
    assert _numbers_seen(CudaTransfer(CUDA), is_eager, monkeypatch) == [1, 2]


@pytest.mark.parametrize(
    ("unprotected", "is_eager"), [(_WithoutRecord, False), (_WithoutEvent, True)]
)
def test_without_the_protection_it_would_not(
    unprotected: type[CudaTransfer], is_eager: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model shows both races: memory used again too early, and read before it is written."""
    assert _numbers_seen(unprotected(CUDA), is_eager, monkeypatch) != [1, 2]


def test_each_thread_has_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that make batches do not wait for each other's."""
    made: list[_Stream] = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: made.append(_Stream()) or made[-1])

    @contextmanager
    def current(stream: _Stream) -> Iterator[None]:
        yield

    monkeypatch.setattr(torch.cuda, "stream", current)
    transfer = CudaTransfer(CUDA)
    for _ in range(2):
        thread = threading.Thread(target=lambda: [transfer.prepare(dict) for _ in range(3)])
        thread.start()
        thread.join(60)
    assert len(made) == 2


def test_the_device_of_a_pipeline_is_found() -> None:
    """A stage on a GPU makes a loader work on a stream of its own, without ``device=``."""
    crops = {"a": {"size": 8}, "b": {"size": 8}}
    assert device_of({"image": [DecodeCenterCrop(8), Normalize()]}) is None
    assert isinstance(transfer_to(None), CpuTransfer)
    for stages in (
        [DecodeCenterCrop(8, device="cuda:1")],
        DecodeMultiRandomResizedCrop(crops, device="cuda:1"),
        [MultiCropPipeline({"v": [DecodeCenterCrop(8, device="cuda:1")]})],
        [DecodeCenterCrop(8), Normalize(device="cuda:1")],
    ):
        found = device_of({"label": [], "image": stages})
        assert found == torch.device("cuda", 1)
        assert isinstance(transfer_to(found), CudaTransfer)


def test_all_threads_take_the_current_device_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """``cuda`` without a number is the device of whoever makes the loader, not of its threads."""
    asked: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    transfer = transfer_to(torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: asked.append(device))
    transfer.receive(Delivery({}))
    assert asked == [torch.device("cuda", 3)]


class _Pair(NamedTuple):
    first: torch.Tensor
    second: Any


def test_every_tensor_of_a_batch_is_moved() -> None:
    """Those in tuples, named tuples and lists that begin with something else too."""
    one = torch.zeros(2)
    batch = {"a": one, "b": (one, [one]), "c": ["text", {"d": one}], "e": _Pair(one, (one, 3))}
    moved = on_device(batch, torch.device("meta"))
    assert moved["c"][0] == "text"
    assert moved["e"].second[1] == 3
    assert type(moved["b"]) is tuple
    assert type(moved["e"]) is _Pair
    tensors = [
        moved["a"],
        moved["b"][0],
        moved["b"][1][0],
        moved["c"][1]["d"],
        moved["e"].first,
        moved["e"].second[0],
    ]
    assert [tensor.device.type for tensor in tensors] == ["meta"] * 6


@pytest.mark.parametrize(("device", "expected"), [("cpu", False), ("cuda", True)])
def test_copies_to_the_cpu_are_waited_for(
    device: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would say when an asynchronous one has ended."""
    asked: list[Any] = []

    def to(tensor: torch.Tensor, target: Any, *, non_blocking: bool) -> torch.Tensor:
        asked.append((target, non_blocking))
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", to)
    on_device({"image": torch.zeros(2)}, torch.device(device))
    assert asked == [(torch.device(device), expected)]


@pytest.mark.gpu
@pytest.mark.parametrize("unprotected", [False, True])
def test_a_late_reader_sees_its_own_batch_on_a_gpu(unprotected: bool) -> None:
    """The same on the real allocator, whose race without the protection can be seen."""
    device = torch.device("cuda", torch.cuda.current_device())
    transfer = _WithoutRecord(device) if unprotected else CudaTransfer(device)
    size, sums = 1 << 22, []
    for number in range(1, 6):

        def make(number: int = number) -> dict[str, torch.Tensor]:
            return {"image": torch.full((size,), float(number), device=device)}

        batch = transfer.receive(transfer.prepare(make))
        torch.cuda._sleep(50_000_000)
        sums.append(batch["image"].mean())
        del batch
    found = [round(float(value)) for value in sums]
    assert (found != [1, 2, 3, 4, 5]) if unprotected else (found == [1, 2, 3, 4, 5])


@pytest.mark.gpu
def test_pinned_memory_waits_for_its_copies() -> None:
    """A page-locked buffer that was dropped is not lent again while it is being copied."""
    buffers, device = module.PinnedBuffers(), torch.device("cuda")
    copies = []
    for number in range(8):
        array = buffers.lend((1 << 24,), np.uint8)
        array[:] = number
        tensor = torch.from_numpy(array)
        assert tensor.is_pinned()
        torch.cuda._sleep(20_000_000)
        copies.append(tensor.to(device, non_blocking=True))
        del array, tensor
    assert [int(copy.float().mean()) for copy in copies] == list(range(8))
