"""Resampling through a map from output pixels to input pixels.

Positions are in pixels, relative to the image's centre, x to the right and y down, as in
torchvision's affine functions.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as tnf

Padding = Literal["zeros", "border", "reflection"]
"""What lies outside of an image."""
Interpolation = Literal["bilinear", "nearest"]
"""``nearest`` is for masks."""


def rotation(degrees: torch.Tensor) -> torch.Tensor:
    """Matrices that turn counter-clockwise as seen on the screen, (B, 2, 2)."""
    radians = torch.deg2rad(degrees)
    cosine, sine = radians.cos(), radians.sin()
    return torch.stack([cosine, sine, -sine, cosine], 1).view(-1, 2, 2)


def inverse_map(linear: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The map that takes the image's point ``source`` to the place ``target``.

    Parameters
    ----------
    linear : Tensor, shape (B, 2, 2)
        From output to input, around these points.
    source, target : Tensor, shape (B, 2)
        x, y.

    Returns
    -------
    Tensor, shape (B, 2, 3)
        Output position -> input position: ``source + linear @ (position - target)``.
    """
    offset = source - (linear @ target.unsqueeze(2))[..., 0]
    return torch.cat([linear, offset.unsqueeze(2)], 2)


def affine_matrices(
    degrees: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor, shear: torch.Tensor
) -> torch.Tensor:
    """torchvision's affine map: rotation (clockwise), shear, scale around the centre, then shift.

    Parameters
    ----------
    degrees, scale : Tensor, shape (B,)
    shift : Tensor, shape (B, 2)
        x, y in pixels.
    shear : Tensor, shape (B, 2)
        x, y in degrees.

    Returns
    -------
    Tensor, shape (B, 2, 3)
        As of ``inverse_map``.
    """
    turn = torch.deg2rad(degrees)
    sx, sy = torch.deg2rad(shear).unbind(1)
    a = (turn - sy).cos() / sy.cos()
    b = -(turn - sy).cos() * sx.tan() / sy.cos() - turn.sin()
    c = (turn - sy).sin() / sy.cos()
    d = -(turn - sy).sin() * sx.tan() / sy.cos() + turn.cos()
    linear = torch.stack([d, -b, -c, a], 1).view(-1, 2, 2) / scale.view(-1, 1, 1)
    return inverse_map(linear, torch.zeros_like(shift), shift)


def warp_affine(
    images: torch.Tensor, maps: torch.Tensor, padding: Padding, interpolation: Interpolation
) -> torch.Tensor:
    """Resample images (B, C, H, W) through maps (B, 2, 3) from output to input pixels."""
    height, width = images.shape[-2:]
    to_unit = torch.tensor(
        [[1, height / width, 2 / width], [width / height, 1, 2 / height]],
        device=images.device,
        dtype=images.dtype,
    )
    theta = maps.to(images.dtype) * to_unit
    grid = tnf.affine_grid(theta, [*images.shape], align_corners=False)
    return tnf.grid_sample(images, grid, interpolation, padding, align_corners=False)


def radial_grid(
    size: tuple[int, int], distortion: float, dx: float, dy: float, device: torch.device
) -> torch.Tensor:
    """Where a lens with radial distortion takes its pixels from, for ``grid_sample``.

    With x and y relative to the centre (moved by dx, dy) in units of width and height, the pixel
    comes from (x, y) times ``1 + k r**2 + k r**4``.

    Parameters
    ----------
    size : (int, int)
        Height and width.
    distortion : float
        k; negative magnifies the rim less than the centre (barrel).
    dx, dy : float
        Shift of the optical centre, pixels.
    device : device

    Returns
    -------
    Tensor, shape (1, H, W, 2)

    Notes
    -----
    Source: the Brown-Conrady model of OpenCV's ``initUndistortRectifyMap`` with k1 = k2 = k.
    """
    height, width = size
    y = (torch.arange(height, device=device) + 0.5 - height / 2 - dy) / height
    x = (torch.arange(width, device=device) + 0.5 - width / 2 - dx) / width
    squares = y.square()[:, None] + x.square()[None]
    factor = 1 + distortion * squares + distortion * squares.square()
    grid_x = 2 * (x[None] * factor + dx / width)
    grid_y = 2 * (y[:, None] * factor + dy / height)
    return torch.stack([grid_x, grid_y], -1)[None]
