"""From RGB to the signals of the retina and the LGN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from slipstream_decoders import Normalize
from slipstream_ssl_pipelines.errors import ImageBatchError
from slipstream_ssl_pipelines.functional import vision
from slipstream_ssl_pipelines.transforms.base import ImageTransform
from slipstream_ssl_pipelines.transforms.chunks import Params, Work


class SRGBToLMS(ImageTransform):
    """sRGB -> responses of L, M and S cones (CAT02); white is about (1, 1, 1). Floats only.

    Parameters
    ----------
    device : device, optional
    """

    channels = (3,)
    work: ClassVar[Work] = "planes"

    def __init__(self, *, device: Any = None) -> None:
        super().__init__(device=device)

    def _images(self, batch: Any) -> torch.Tensor:
        images = super()._images(batch)
        if not images.is_floating_point():
            raise ImageBatchError(
                f"{type(self).__name__} takes floating point images, got {images.dtype}: "
                "put ToTorchImage() before it"
            )
        return images

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        del params
        return vision.srgb_to_lms(images)


class _CenterSurround(SRGBToLMS):
    def __init__(self, center: float, surround: float, *, device: Any = None) -> None:
        super().__init__(device=device)
        if not 0 < center < surround:
            raise ValueError(f"0 < center < surround is needed, got {center}, {surround}")
        self.center = center
        self.surround = surround


class LMSToParvo(_CenterSurround):
    """Cones -> red-on and green-on midget cells, (B, 2, H, W), not negative.

    Parameters
    ----------
    center, surround : float
        Deviations of the two Gaussians, pixels.
    device : device, optional
    """

    def __init__(self, center: float = 1.5, surround: float = 5.0, *, device: Any = None) -> None:
        super().__init__(center, surround, device=device)

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        del params
        return vision.parvo(images, self.center, self.surround)


class LMSToMagno(_CenterSurround):
    """Cones -> on- and off-centre parasol cells of light, (B, 2, H, W), not negative.

    Parameters
    ----------
    center, surround : float
        Deviations of the two Gaussians, pixels.
    device : device, optional
    """

    def __init__(self, center: float = 2.5, surround: float = 5.0, *, device: Any = None) -> None:
        super().__init__(center, surround, device=device)

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        del params
        return vision.magno(images, self.center, self.surround)


class LMSToKonio(_CenterSurround):
    """Cones -> blue-on cells, (B, 1, H, W), not negative.

    Parameters
    ----------
    center, surround : float
        Deviations of the two Gaussians, pixels.
    device : device, optional
    """

    def __init__(self, center: float = 2.5, surround: float = 6.5, *, device: Any = None) -> None:
        super().__init__(center, surround, device=device)

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        del params
        return vision.konio(images, self.center, self.surround)


class RGBToLGN(SRGBToLMS):
    """sRGB -> the five channels of parvo, magno and konio cells, in this order: (B, 5, H, W).

    Parameters
    ----------
    parvo, magno, konio : (float, float)
        Deviations of centre and surround, pixels.
    device : device, optional
    """

    def __init__(
        self,
        parvo: tuple[float, float] = (1.5, 5.0),
        magno: tuple[float, float] = (2.5, 5.0),
        konio: tuple[float, float] = (2.5, 6.5),
        *,
        device: Any = None,
    ) -> None:
        super().__init__(device=device)
        self.parvo, self.magno, self.konio = parvo, magno, konio

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        cones = super().transform(images, params)
        cells = [
            vision.parvo(cones, *self.parvo),
            vision.magno(cones, *self.magno),
            vision.konio(cones, *self.konio),
        ]
        return torch.cat(cells, 1)


class RGBToMagno(LMSToMagno):
    """sRGB -> on- and off-centre cells of light, (B, 2, H, W).

    Parameters
    ----------
    center, surround : float
        Deviations of the two Gaussians, pixels.
    device : device, optional
    """

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        return super().transform(vision.srgb_to_lms(images), params)


class NormalizeLGN(ImageTransform):
    """``Normalize`` for the five channels of ``RGBToLGN``.

    Parameters
    ----------
    mean, std : sequence of float
        One number a channel.
    device : device, optional
    """

    def __init__(
        self,
        mean: Sequence[float] = (0.2,) * 5,
        std: Sequence[float] = (0.2,) * 5,
        *,
        device: Any = None,
    ) -> None:
        super().__init__(device=device)
        checked = Normalize(mean, std)
        self.mean, self.std = checked.mean, checked.std
        self.channels = (len(self.mean),)

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        del params
        mean, std = (torch.tensor(v).to(images).view(1, -1, 1, 1) for v in (self.mean, self.std))
        return (images - mean) / std
