"""NVIDIA DALI on the CPU: decode of the random crop alone, then resize."""

from __future__ import annotations

from nvidia.dali import fn, pipeline_def, types
from turns import arguments, photo_paths, serve

options = arguments()
paths = [str(path) for path in photo_paths(options)]


@pipeline_def(batch_size=options.batch_size, num_threads=options.threads, device_id=None)
def photos():
    """Photos, cropped and resized to 224."""
    jpeg, label = fn.readers.file(files=paths, random_shuffle=True, initial_fill=1000)
    if options.work == "rrc":
        image = fn.decoders.image_random_crop(
            jpeg,
            device="cpu",
            output_type=types.RGB,
            random_area=[0.08, 1.0],
            random_aspect_ratio=[3 / 4, 4 / 3],
        )
        image = fn.resize(image, size=(224, 224), interp_type=types.INTERP_LINEAR)
    else:
        image = fn.decoders.image(jpeg, device="cpu", output_type=types.RGB)
        image = fn.resize(image, resize_shorter=256, interp_type=types.INTERP_LINEAR)
        image = fn.crop(image, crop=(224, 224))
    return image, label


pipeline = photos()
pipeline.build()
num_batches = max(1, len(paths) // options.batch_size)


def epoch() -> int:
    """Whole batches only."""
    for _ in range(num_batches):
        pipeline.run()
    return num_batches * int(options.batch_size)


serve(epoch)
