"""``show_batch``: look at a batch in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from slipstream_decoders import IMAGENET_MEAN, IMAGENET_STD
from slipstream_decoders.stages.to_torch_image import as_bchw
from slipstream_loader.batches import INDICES
from slipstream_loader.contact_sheet import contact_sheet

_SLACK = 1e-3  # what rounding may add to values in [0, 1]


def show_batch(
    batch: Any,
    view_names: Sequence[str] | None = None,
    n_cols: int = 8,
    suptitle: str | None = None,
    row_labels: Sequence[str] | None = None,
    col_labels: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Image.Image:
    """Draw the first images of a batch: one row a view, one column a sample.

    Parameters
    ----------
    batch : mapping, Tensor, ndarray or sequence
        A loader's batch; images (B, C, H, W) or (B, H, W, C); a list of images; a list of such
        batches, one a view.
    view_names : sequence of str, optional
        Which fields of a mapping to draw. Default: all that hold images.
    n_cols : int
        Samples that are drawn, at most.
    suptitle : str, optional
        Written above.
    row_labels : sequence of str, optional
        One a view. Default: the views' names.
    col_labels : sequence of str, optional
        One a sample. Default: the sample ids, where the batch has them.
    mean, std : sequence of float, optional
        What floating point images were normalised with. Default: ImageNet's where values are
        outside of [0, 1], nothing elsewhere.

    Returns
    -------
    PIL.Image.Image
        A notebook displays it; ``save`` writes it to a file.

    Raises
    ------
    LookupError
        If the batch has no view of a given name.
    ValueError
        If there is nothing to draw, labels are missing, or only one of ``mean`` and ``std`` is
        given.
    """
    if (mean is None) != (std is None):
        raise ValueError("mean and std belong together: give both or none")
    if n_cols < 1:
        raise ValueError(f"n_cols must be positive, got {n_cols}")
    views = _views(batch, view_names)
    normalization = None if mean is None or std is None else (mean, std)
    shown = min(n_cols, *(len(images) for images in views.values()))
    rows = _labels("row_labels", row_labels, [str(name) for name in views], len(views))
    columns = _labels("col_labels", col_labels, _ids(batch, shown), shown)
    pictures = [
        picture
        for images in views.values()
        for picture in displayable(list(images[:shown]), normalization)
    ]
    captions = [", ".join(filter(None, (row, column))) for row in rows for column in columns]
    return contact_sheet(pictures, captions, columns=shown, title=suptitle)


def _views(batch: Any, names: Sequence[str] | None) -> dict[str, Any]:
    """View name -> images, none of them empty."""
    if isinstance(batch, Mapping):
        unknown = [name for name in names or () if name not in batch]
        if unknown:
            raise LookupError(f"no view named {unknown}; the batch has {list(batch)}")
        views = {name: batch[name] for name in names or batch if names or _is_images(batch[name])}
    elif isinstance(batch, (list, tuple)) and batch and _num_axes(batch[0]) != 3:
        views = dict(zip(names or map(str, range(len(batch))), batch, strict=True))
    else:
        views = {"": batch}
    wrong = {name: value for name, value in views.items() if not _is_images(value)}
    if wrong or not views:
        found = {name: type(value).__name__ for name, value in wrong.items()}
        raise ValueError(
            f"there are no images to draw{f' in {found}' if found else ''}: expected (B, C, H, W) "
            "or (B, H, W, C) tensors or arrays, or lists of images, and at least one image each"
        )
    return views


def _is_images(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(_num_axes(item) == 3 for item in value)
    return _num_axes(value) == 4 and len(value) > 0


def _num_axes(value: Any) -> int:
    return value.ndim if isinstance(value, (torch.Tensor, np.ndarray)) else 0


def _ids(batch: Any, shown: int) -> list[str]:
    if isinstance(batch, Mapping) and INDICES in batch:
        return [str(sample_id) for sample_id in batch[INDICES][:shown].tolist()]
    return [""] * shown


def _labels(name: str, given: Sequence[str] | None, default: list[str], count: int) -> list[str]:
    if given is None:
        return default
    if len(given) < count:
        raise ValueError(f"{name} has {len(given)} labels; {count} are needed")
    return [str(label) for label in given[:count]]


def displayable(
    images: list[Any], normalization: tuple[Sequence[float], Sequence[float]] | None = None
) -> list[torch.Tensor]:
    """uint8 tensors (3, H, W) of the images of one view.

    Parameters
    ----------
    images : list
        Tensors or arrays; floating point ones in [0, 1] or normalised.
    normalization : (mean, std), optional
        What floating point images were normalised with. Default: ImageNet's where values are
        outside of [0, 1], nothing elsewhere.
    """
    tensors = [as_bchw(image).detach().cpu() for image in images]
    tensors = [image.float() if image.is_floating_point() else image for image in tensors]
    floats = [image for image in tensors if image.is_floating_point()]
    if normalization is None and any(
        image.min() < -_SLACK or image.max() > 1 + _SLACK for image in floats
    ):
        normalization = (IMAGENET_MEAN, IMAGENET_STD)
    return [_bytes(image, normalization) for image in tensors]


def _bytes(
    image: torch.Tensor, normalization: tuple[Sequence[float], Sequence[float]] | None
) -> torch.Tensor:
    if image.is_floating_point():
        if normalization is not None:
            mean, std = (torch.tensor(values).view(-1, 1, 1) for values in normalization)
            image = image * std + mean
        image = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return image.expand(3, -1, -1) if image.shape[0] == 1 else image
