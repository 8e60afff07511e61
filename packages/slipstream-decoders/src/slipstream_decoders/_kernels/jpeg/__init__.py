"""Baseline JPEG -> planes, whole or only the part that a crop needs.

workspace  one thread's memory: what lies where
parse      markers -> header: sizes, components, where the tables are
tables     Huffman tables that give two coefficients a lookup; dequantisation in zigzag order
destuff    the bytes of a scan without stuffed zeros, up to a marker
entropy    Huffman decoding of MCUs into blocks; restart intervals
entropy_pairs  the same for two rows of MCUs at once
idct       16 blocks at once, a block a lane -> bytes of the planes
seek       points from which decoding can start, as bytes beside the payload
planes     a window of MCUs -> planes, from the start or from seek points
crop       planes -> crops of a batch
upsample   rows of chroma at luma's resolution
rgb        a part of an image -> RGB at full size; exact crops of a batch

Numbers of ``DecodeStatus`` are returned everywhere. Payloads are hostile: what they say is checked
before it is used, and every loop over them is bounded by their size or by the image's.
"""
