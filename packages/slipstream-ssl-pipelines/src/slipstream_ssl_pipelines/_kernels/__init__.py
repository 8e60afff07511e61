"""Compiled functions on the pixels of one image, for batches on the CPU.

pixels  blocks of pixels as three lines of floats, and back
color   brightness, contrast, saturation, hue; matrices; luma
tone    solarise, posterise, autocontrast, equalise, sharpen
blur    separable filters
flip    mirrored rows
warp    resampling through an affine map

Pixels come as one flat array of uint8 or float32 in the order of the memory: channel by channel
(planar), or pixel by pixel. What a kernel returns tells whether the arrays fit; if they do not,
nothing is done. Loops are written for the compiler to turn into vectors.
"""
