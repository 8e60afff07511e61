"""NVIDIA DALI: decode of the random crop alone, then resize; on the CPU or a GPU."""

from __future__ import annotations

from nvidia.dali import fn, pipeline_def, types
from turns import arguments, photo_paths, serve

options = arguments()
paths = [str(path) for path in photo_paths(options)]
on_gpu = options.device == "cuda"
decoder = "mixed" if on_gpu else "cpu"
AHEAD = 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pipeline_def(
    batch_size=options.batch_size,
    num_threads=options.threads,
    prefetch_queue_depth=AHEAD,
    device_id=0 if on_gpu else None,
)
def photos():
    """Photos: whole, or cropped and resized to 224."""
    jpeg, label = fn.readers.file(files=paths, random_shuffle=True, initial_fill=1000)
    if options.work in ("rrc", "normalised_rrc"):
        image = fn.decoders.image_random_crop(
            jpeg,
            device=decoder,
            output_type=types.RGB,
            random_area=[0.08, 1.0],
            random_aspect_ratio=[3 / 4, 4 / 3],
        )
        image = fn.resize(image, size=(224, 224), interp_type=types.INTERP_LINEAR)
    else:
        image = fn.decoders.image(jpeg, device=decoder, output_type=types.RGB)
    if options.work == "resize_crop":
        image = fn.resize(image, resize_shorter=256, interp_type=types.INTERP_LINEAR)
        image = fn.crop(image, crop=(224, 224))
    if options.work == "normalised_rrc":
        mean, std = [255 * value for value in MEAN], [255 * value for value in STD]
        image = fn.crop_mirror_normalize(image, dtype=types.FLOAT, mean=mean, std=std)
    return image, label


pipeline = photos()
pipeline.build()
num_batches = max(1, len(paths) // options.batch_size)


def epoch() -> int:
    """Whole batches only, each made within the epoch: none is fetched ahead of the next one."""
    scheduled = 0
    for done in range(num_batches):
        while scheduled < min(done + AHEAD, num_batches):
            pipeline.schedule_run()
            scheduled += 1
        pipeline.share_outputs()
        pipeline.release_outputs()
    return num_batches * int(options.batch_size)


serve(epoch)
