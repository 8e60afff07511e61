"""Moving batches to their device ahead of the consumer.

On CUDA each thread that makes batches works on a CUDA stream of its own; the consumer's stream
waits for the batch's event, and the tensors are marked as used there, so that the allocator does
not give their memory away too early. On the CPU nothing happens.

Source: CUDA semantics notes of PyTorch, "Use pinned memory buffers" and ``Tensor.record_stream``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from slipstream_decoders import BufferPool


@dataclass(frozen=True)
class Delivery:
    """A finished batch, and what the consumer's stream has to wait for."""

    batch: Any
    ready: torch.cuda.Event | None = None


class CpuTransfer:
    """Batches stay where they are."""

    def prepare(self, make: Callable[[], Any]) -> Delivery:
        """Make a batch."""
        return Delivery(make())

    def receive(self, delivery: Delivery) -> Any:
        """The batch, in the consumer's thread."""
        return delivery.batch


class CudaTransfer:
    """Batches are made on streams of their own and handed to the consumer's stream.

    Parameters
    ----------
    device : device
        A CUDA device; without a number, the current one of the thread that makes this.
    """

    def __init__(self, device: torch.device) -> None:
        # other threads have a current device of their own
        number = torch.cuda.current_device() if device.index is None else device.index
        self._device = torch.device("cuda", number)
        self._local = threading.local()

    @contextmanager
    def _own_stream(self) -> Iterator[torch.cuda.Stream]:
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._local.stream):
            yield self._local.stream

    def prepare(self, make: Callable[[], Any]) -> Delivery:
        """Make a batch on this thread's stream."""
        with self._own_stream() as stream:
            batch = make()
            return Delivery(batch, stream.record_event())

    def receive(self, delivery: Delivery) -> Any:
        """The batch, after making the consumer's current stream wait for it."""
        stream = torch.cuda.current_stream(self._device)
        if delivery.ready is not None:
            stream.wait_event(delivery.ready)

        def record(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.is_cuda:
                tensor.record_stream(stream)
            return tensor

        map_tensors(delivery.batch, record)
        return delivery.batch


class PinnedBuffers:
    """Lends page-locked arrays from torch's caching host allocator, which knows of copies that
    are still running; a buffer returns there when the last view of it is gone."""

    def lend(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An uninitialised array that belongs to the caller."""
        dtype = np.dtype(dtype)
        num_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        flat = torch.empty(num_bytes, dtype=torch.uint8, pin_memory=True)
        array: NDArray[Any] = flat.numpy().view(dtype).reshape(shape)
        return array


def device_of(stages: Any) -> torch.device | None:
    """The CUDA device on which stages make their results, if there is one.

    Parameters
    ----------
    stages : stage, or list or dict of them, nested as pipelines are
    """
    if isinstance(stages, Mapping):
        stages = list(stages.values())
    if isinstance(stages, (list, tuple)):
        return next((found for each in stages if (found := device_of(each)) is not None), None)
    device = getattr(stages, "device", None)
    if isinstance(device, torch.device) and device.type == "cuda":
        return device
    inner = getattr(stages, "crops", None) or getattr(stages, "stages", None)
    return device_of(inner) if isinstance(inner, (Mapping, list, tuple)) else None


def transfer_to(device: torch.device | None) -> CpuTransfer | CudaTransfer:
    """How batches get to a device."""
    if device is not None and device.type == "cuda":
        return CudaTransfer(device)
    return CpuTransfer()


def batch_buffers(pin_memory: bool, max_free: int) -> BufferPool | PinnedBuffers:
    """Where the memory of batches comes from."""
    return PinnedBuffers() if pin_memory else BufferPool(max_free)


def on_device(batch: Any, device: torch.device) -> Any:
    """A batch with all its tensors on a device.

    Copies to a GPU are asynchronous: they are done when the stream of this thread is. Those to the
    CPU are waited for, as nothing tells the consumer when they are done.
    """
    is_asynchronous = device.type != "cpu"
    return map_tensors(batch, lambda tensor: tensor.to(device, non_blocking=is_asynchronous))


def map_tensors(value: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A copy of dicts, lists and tuples, however nested, with each tensor replaced."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, dict):
        return {name: map_tensors(item, function) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [map_tensors(item, function) for item in value]
        if isinstance(value, list):
            return items
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value
