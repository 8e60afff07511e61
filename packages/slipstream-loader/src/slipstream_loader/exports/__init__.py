"""Caches in the formats of other libraries.

::

    samples.py      one sample after another, images with what is known of them
    whole_file.py   files that appear when they are complete
    beton.py        FFCV's .beton files
    webdataset.py   WebDataset's tar shards
    folder.py       a plain folder, one folder for each class
"""

from slipstream_loader.exports.beton import export_beton
from slipstream_loader.exports.folder import export_folder
from slipstream_loader.exports.webdataset import export_webdataset

__all__ = ["export_beton", "export_folder", "export_webdataset"]
