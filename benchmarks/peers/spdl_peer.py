"""SPDL: FFmpeg decodes, crops and scales on a thread pool, from bytes in memory."""

from __future__ import annotations

import random
from collections.abc import Iterator

import spdl.io
from spdl.pipeline import PipelineBuilder
from turns import arguments, photo_paths, random_resized_box, serve

options = arguments()
payloads = [path.read_bytes() for path in photo_paths(options)]


def scaling(width: int, height: int) -> str:
    """The FFmpeg filter that makes 224 x 224 pixels of an image."""
    if options.work == "rrc":
        x, y, w, h = random_resized_box(width, height)
        return f"crop={w}:{h}:{x}:{y},scale=224:224:flags=bilinear,format=pix_fmts=rgb24"
    scale = 256 / min(width, height)
    size = f"{round(width * scale)}:{round(height * scale)}"
    return f"scale={size}:flags=bilinear,crop=224:224,format=pix_fmts=rgb24"


def decode(batch: list[bytes]) -> tuple[int, object]:
    """One batch of frames."""
    frames = []
    for payload in batch:
        packets = spdl.io.demux_image(payload)
        chain = scaling(packets.codec.width, packets.codec.height)
        frames.append(spdl.io.decode_packets(packets, filter_desc=chain))
    return len(batch), spdl.io.convert_frames(frames)


def batches() -> Iterator[list[bytes]]:
    """The payloads in a fresh random order."""
    order = random.sample(payloads, len(payloads))
    for begin in range(0, len(order), options.batch_size):
        yield order[begin : begin + options.batch_size]


def epoch() -> int:
    """A pipeline serves one epoch."""
    builder = PipelineBuilder().add_source(batches()).pipe(decode, concurrency=options.threads)
    pipeline = builder.add_sink(4).build(num_threads=options.threads)
    with pipeline.auto_stop():
        return sum(size for size, _ in pipeline.get_iterator())


serve(epoch)
