"""The layers behind the namespace, and what installs each of them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

DISTRIBUTIONS = {
    "slipstream_cache": "visionlab-slipstream-cache",
    "slipstream_decoders": "visionlab-slipstream-decoders",
    "slipstream_loader": "visionlab-slipstream-loader",
    "slipstream_s3sync": "visionlab-slipstream-s3sync",
    "slipstream_ssl_pipelines": "visionlab-slipstream-ssl-pipelines",
    "sqrtspace_streams": "sqrtspace-streams",
}


def require(layer: str) -> ModuleType:
    """Import a layer, or say how to install it.

    Parameters
    ----------
    layer : str
        Import name of a layer, such as ``"slipstream_loader"``.

    Returns
    -------
    module
        The imported layer.

    Raises
    ------
    ImportError
        The layer is not installed; the message holds the install line. An import that fails
        inside an installed layer raises its own error.
    """
    try:
        return import_module(layer)
    except ModuleNotFoundError as error:
        if error.name != layer:
            raise
        message = f"{layer} is not installed. Run: pip install {DISTRIBUTIONS[layer]}"
        raise ImportError(message, name=layer) from error
