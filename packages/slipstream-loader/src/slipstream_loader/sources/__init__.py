"""Where samples come from.

::

    open_source(x) ── a path or URL ─┬── a slipcache ─────── prebuilt.py      the cache itself,
                                     │                                       or a LegacySource (v1)
      (detect.py)                    ├── a folder of images ─ imagefolder.py  ImageFolderSource
                                     ├── a tar archive ────── tar.py          TarSource
                                     ├── shards ───────────── webdataset.py   WebDatasetSource
                                     ├── MDS shards ───────── mds.py          MDSSource
                                     ├── a list of images ─── manifest.py     ManifestSource
                                     ├── a file of FFCV ───── beton.py        BetonSource
                                     └── parquet, hf:// ───── parquet.py      TableSource
                   ── a datasets.Dataset ──────────────────── huggingface.py  HuggingFaceSource
                   ── anything with len and index ─────────── sequence.py     SequenceSource
                   ── an iterable or generator ────────────── iterable.py     IterableSource
                   ── a Source or SampleCache ─────────────── as it is

    files        stored_file.py (local, S3, HTTP by ranges; object_store.py)
                 forward_file.py (decompression)  block_reader.py (blocks to single samples)
                 neighbouring_reads.py (blocks of remote files)  kept_file.py (kept on disk)
    archives     tar_headers.py  tar_listing.py  tar_members.py  file_listing.py (kept on disk)
                 file_names.py  shard_names.py  webdataset_samples.py
    formats      beton_layout.py  mds_index.py  mds_encodings.py
    tables       arrow_rows.py  arrow_values.py  table_splits.py  manifest_rows.py
                 stored_tables.py (S3, HTTP)  ranged_file.py
    objects      sample_form.py (values to fields)  pil_files.py  content_hash.py (fingerprint)
                 torchvision_folder.py

Each source implements ``slipstream_cache.Source``.
"""

from slipstream_loader.sources.beton import BetonSource
from slipstream_loader.sources.detect import open_source
from slipstream_loader.sources.huggingface import HubTables, HuggingFaceSource
from slipstream_loader.sources.imagefolder import ImageFolderSource
from slipstream_loader.sources.iterable import IterableSource
from slipstream_loader.sources.manifest import ManifestSource
from slipstream_loader.sources.mds import MDSSource
from slipstream_loader.sources.parquet import TableSource
from slipstream_loader.sources.sequence import SequenceSource
from slipstream_loader.sources.tar import TarSource
from slipstream_loader.sources.webdataset import WebDatasetSource

__all__ = [
    "BetonSource",
    "HubTables",
    "HuggingFaceSource",
    "ImageFolderSource",
    "IterableSource",
    "MDSSource",
    "ManifestSource",
    "SequenceSource",
    "TableSource",
    "TarSource",
    "WebDatasetSource",
    "open_source",
]
