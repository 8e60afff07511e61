"""Where samples come from.

::

    open_source(x) ── a path ──┬── a slipcache directory ── prebuilt.py     the cache itself, or
                               │                                         a LegacySource (format 1)
      (detect.py)              └── a folder of images ───── imagefolder.py  ImageFolderSource
                   ── a sequence of dicts ───────────────── sequence.py     SequenceSource
                                                              ├── content_hash.py  its fingerprint
                                                              └── pil_files.py     its images
                   ── a Source or SampleCache ───────────── as it is

Each source implements ``slipstream_cache.Source``.
"""

from slipstream_loader.sources.detect import open_source
from slipstream_loader.sources.imagefolder import ImageFolderSource
from slipstream_loader.sources.sequence import SequenceSource
from slipstream_loader.sources.tar import TarSource

__all__ = ["ImageFolderSource", "SequenceSource", "TarSource", "open_source"]
