"""``ImageTransform`` and ``RandomTransform``: what all batch transforms are made of.

A transform draws parameters, one row a sample, and applies them: two methods, so that parameters
can be looked at, kept as labels and applied again to another batch.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, TypedDict

import numpy as np
import torch

from slipstream_decoders import BatchContext, Stage
from slipstream_decoders.stages.base import batch_length
from slipstream_decoders.stages.to_torch_image import as_bchw
from slipstream_ssl_pipelines.errors import ImageBatchError, ReplayError
from slipstream_ssl_pipelines.transforms.chunks import (
    Params,
    Work,
    empty_images,
    run_rows,
    take_rows,
)
from slipstream_ssl_pipelines.transforms.compiled import ImageKernel, can_run, run_images
from slipstream_ssl_pipelines.transforms.draws import Draws


class ReplayableStage(Stage):
    """A stage that remembers the parameters it drew last, for each thread on its own."""

    def __init__(self) -> None:
        self._num_calls = 0
        self._last = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_last"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _last=threading.local())

    def __call__(self, batch: Any) -> Any:
        """Apply the stage outside of a loader.

        Without a seed each call draws anew. With one, the n-th call of a new instance always draws
        the same.
        """
        context = BatchContext.standalone(batch_length(batch))
        return self.apply(batch, self.at_next_call(context))

    def at_next_call(self, context: BatchContext) -> BatchContext:
        """The context of a call outside of a loader: calls are counted as epochs."""
        call, self._num_calls = self._num_calls, self._num_calls + 1
        return replace(context, epoch=call)

    @property
    def last_params(self) -> Params:
        """Parameters of this thread's last call: tensors on the CPU with one row a sample.

        A loader calls stages on threads of its own: there, keep them with ``ParamsAsLabels``.

        Raises
        ------
        ReplayError
            If this thread has not called the stage.
        """
        params: Params | None = getattr(self._last, "params", None)
        if params is None:
            raise ReplayError(f"{type(self).__name__} has not been called in this thread")
        return params

    def remember(self, params: Params) -> None:
        """Keep the parameters of this call."""
        self._last.params = params

    @abstractmethod
    def replay(self, batch: Any, params: Params | None = None) -> Any:
        """Apply parameters again, to another batch of as many samples.

        Parameters
        ----------
        batch : as the stage takes
        params : Params, optional
            Default: ``last_params``.
        """


class ImageTransform(ReplayableStage):
    """A transform of image batches (B, C, H, W): uint8 in 0 to 255, floating point in 0 to 1.

    Also takes what ``ToTorchImage`` takes: arrays (B, H, W, C), and lists of images of varying
    sizes. The result has the input's dtype and memory order; arithmetic is in float32, bytes are
    rounded to the nearest. The input is not changed, unless ``inplace`` is given; where no sample
    is transformed the result may be the input itself.

    Parameters
    ----------
    device : device, optional
        Where the result goes.
    inplace : bool
        Write the result into the batch that comes in, where the shape allows it.
    """

    work: ClassVar[Work] = "float"
    """What ``transform`` takes."""
    channels: tuple[int, ...] | None = None
    """Numbers of channels that images may have; None: any."""
    out_channels: int | None = None
    """Channels of the results, where that is another number than those of the images."""

    def __init__(self, *, device: Any = None, inplace: bool = False) -> None:
        super().__init__()
        self.device = None if device is None else torch.device(device)
        self.inplace = inplace

    def draw(self, context: BatchContext, height: int, width: int) -> Params:
        """Draw the parameters of the context's samples, for images of one size."""
        del context, height, width
        return {}

    @abstractmethod
    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """Apply parameters: a function of tensors on one device, which ``torch.compile`` takes.

        Parameters
        ----------
        images : Tensor, shape (B, C, H, W)
            As ``work`` says. It must not be changed.
        params : Params
            Each of length B, on the images' device, without ``applied``.
        """

    def kernel(self, params: Params, images: torch.Tensor) -> ImageKernel | None:
        """What ``transform`` does, compiled for the CPU.

        Parameters
        ----------
        params : Params
            Each of length B, on the CPU, without ``applied``.
        images : Tensor, shape (B, C, H, W)
            What it is for.

        Returns
        -------
        ImageKernel or None
            None, the default: ``transform`` does it.
        """
        del params, images
        return None

    def apply(self, batch: Any, context: BatchContext) -> Any:
        """Draw parameters and apply them."""
        if isinstance(batch, list):
            singles = [self._images([image]) for image in batch]
            order = np.arange(len(batch))
            params = stack_params(
                [self._draw_for(x, context.rows(order == row)) for row, x in enumerate(singles)]
            )
        else:
            params = self._draw_for(self._images(batch), context)
        self.remember(params)
        return self._run_any(batch, params, context)

    def replay(self, batch: Any, params: Params | None = None) -> Any:
        """See ``ReplayableStage``."""
        params = self.last_params if params is None else params
        check_fits(params, len(batch))
        return self._run_any(batch, params, BatchContext.standalone(0))

    def _run_any(self, batch: Any, params: Params, context: BatchContext) -> Any:
        if not isinstance(batch, list):
            return self._run(self._images(batch), params, context)
        return [
            self._run(self._images([image]), take_rows(params, slice(row, row + 1)), context)[0]
            for row, image in enumerate(batch)
        ]

    def _draw_for(self, images: torch.Tensor, context: BatchContext) -> Params:
        return self.draw(context, images.shape[-2], images.shape[-1])

    def _images(self, batch: Any) -> torch.Tensor:
        images = as_images(batch, type(self).__name__)
        if self.channels is not None and images.shape[1] not in self.channels:
            raise ImageBatchError(
                f"{type(self).__name__} takes images with "
                f"{' or '.join(map(str, self.channels))} channels, got {images.shape[1]}"
            )
        return images.to(self.device, non_blocking=True)

    def _run(self, images: torch.Tensor, params: Params, context: BatchContext) -> torch.Tensor:
        params = dict(params)
        applied = params.pop("applied", None)
        if len(images) == 0:
            return images
        rows = None
        if applied is not None and not applied.any():
            return images
        kernel = self.kernel(params, images) if can_run(images) else None
        if kernel is not None:
            inplace, channels = self.inplace, self.out_channels
            return run_images(images, applied, kernel, context, inplace=inplace, channels=channels)
        if applied is not None and not applied.all():
            rows = applied.nonzero()[:, 0]
        out = images if self.inplace else None
        if rows is not None and out is None:
            out = empty_images(tuple(images.shape), images, context.buffers).copy_(images)
        return run_rows(images, rows, params, self.transform, self.work, out, context.buffers)


class RandomOptions(TypedDict, total=False):
    """Keywords that every ``RandomTransform`` takes."""

    seed: int | None
    device: Any
    inplace: bool


class RandomTransform(ImageTransform):
    """A transform that is applied to each sample with probability ``p``.

    Parameters
    ----------
    p : float
        In [0, 1]. Each sample is decided on its own.
    seed : int, optional
        Replaces the loader's seed: equal seeds draw the same whatever the loader's.
    device : device, optional
    inplace : bool

    Notes
    -----
    Parameters depend on (seed, epoch, sample id, occurrence, view, stage name) only, not on the
    batch, the device or ``p``. The first draw decides on applying it: ``applied``, bool.
    """

    def __init__(
        self,
        p: float = 1.0,
        *,
        seed: int | None = None,
        device: Any = None,
        inplace: bool = False,
    ) -> None:
        super().__init__(device=device, inplace=inplace)
        if not 0 <= p <= 1:
            raise ValueError(f"p must be a probability in [0, 1], got {p!r}")
        self.p = float(p)
        self.seed = seed

    def draw(self, context: BatchContext, height: int, width: int) -> Params:
        """Draw ``applied`` and the parameters of ``sample``."""
        draws = Draws(context, self.seed)
        applied = draws.bernoulli(self.p)
        return {"applied": applied, **self.sample(draws, height, width)}

    @abstractmethod
    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw this transform's own parameters."""


_CHANNELS = (1, 3, 4)


def as_images(batch: Any, name: str) -> torch.Tensor:
    """A batch, or a list of one image, as (B, C, H, W): a view.

    Raises
    ------
    ImageBatchError
        If it is neither.
    """
    single = isinstance(batch, list)
    images = batch[0] if single else batch
    if not isinstance(images, torch.Tensor) or images.shape[-1] in _CHANNELS:
        try:
            images = as_bchw(images)
        except ValueError as error:
            raise ImageBatchError(f"{name}: {error}") from error
    images = images[None] if single else images
    if images.ndim != 4:
        raise ImageBatchError(
            f"{name} takes a batch of shape (B, C, H, W), got {tuple(images.shape)}: "
            "put a single image in a batch of one"
        )
    return images


def check_fits(params: Params, num: int) -> None:
    """Raise ``ReplayError`` if parameters are not those of ``num`` samples."""
    for value in params.values():
        if isinstance(value, dict):
            check_fits(value, num)
        elif len(value) != num:
            raise ReplayError(f"parameters of {len(value)} samples do not fit a batch of {num}")


def stack_params(parts: list[Params]) -> Params:
    """Parameters of several batches as those of one."""
    if not parts:
        return {}
    return {
        name: stack_params([part[name] for part in parts])
        if isinstance(value, dict)
        else torch.cat([part[name] for part in parts])
        for name, value in parts[0].items()
    }
