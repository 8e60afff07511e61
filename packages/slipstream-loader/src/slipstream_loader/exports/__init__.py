"""Caches in the formats of other libraries.

::

    samples.py      one sample after another, images with what is known of them
    whole_file.py   files that appear when they are complete
    beton.py        FFCV's .beton files
"""

from slipstream_loader.exports.beton import export_beton

__all__ = ["export_beton"]
