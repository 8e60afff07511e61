"""Samples -> batch, for torch's own DataLoader over a ``SlipstreamDataset``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch


def list_collate_fn(batch: Sequence[Any]) -> Any:
    """Collate samples without asking that everything has one shape.

    Parameters
    ----------
    batch : sequence of mappings, or of tuples, or of values
        What a data set gave, one item a sample, at least one.

    Returns
    -------
    dict, tuple or value
        Like one sample, with the values of all. Numbers become a tensor of shape (B,); arrays or
        tensors of one shape and dtype are stacked to (B, ...) tensors; all else is a list of B.

    Raises
    ------
    ValueError
        If the batch is empty, or its samples have different fields.

    Examples
    --------
    >>> samples = [{"label": 3, "name": "a"}, {"label": 5, "name": "b"}]
    >>> list_collate_fn(samples)
    {'label': tensor([3, 5]), 'name': ['a', 'b']}
    """
    samples = list(batch)
    if not samples:
        raise ValueError("an empty batch cannot be collated")
    first = samples[0]
    if isinstance(first, Mapping):
        different = [sample for sample in samples if set(sample) != set(first)]
        if different:
            raise ValueError(f"samples have different fields: {list(first)}, {list(different[0])}")
        return {name: _collated([sample[name] for sample in samples]) for name in first}
    if isinstance(first, tuple):
        if len({len(sample) for sample in samples}) > 1:
            raise ValueError("samples are tuples of different lengths")
        return tuple(_collated(list(values)) for values in zip(*samples, strict=True))
    return _collated(samples)


def _collated(values: list[Any]) -> Any:
    if all(isinstance(value, (bool, int, float, np.number, np.bool_)) for value in values):
        return torch.from_numpy(np.array(values))
    if all(isinstance(value, torch.Tensor) for value in values):
        return torch.stack(values) if _are_alike(values) else values
    if all(isinstance(value, np.ndarray) and value.dtype.kind in "biufc" for value in values):
        return torch.from_numpy(np.stack(values)) if _are_alike(values) else values
    return values


def _are_alike(values: list[Any]) -> bool:
    return len({(value.dtype, tuple(value.shape)) for value in values}) == 1
