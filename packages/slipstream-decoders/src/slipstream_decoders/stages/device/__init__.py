"""Crops that are finished on the device that they are for.

patches          parts of decoded images in one buffer on a device; the geometry of their resize
resample         patches -> images: antialiased resize, colours, flip, scale, in one step
_kernels         the same as one CUDA kernel, in Triton
planes           parts of images as planes, from the CPU by one pinned buffer
nvimgcodec       parts of JPEGs, decoded on the device by nvImageCodec
crop             a batch: every image to its engine, refused ones to the CPU
choose           which engine is the fastest here, by measurement
"""
