"""Tensor maths without randomness or state: what the transforms do with their parameters.

color     brightness, contrast, saturation, hue, gray, YIQ
tone      solarize, posterize, autocontrast, equalize, sharpness
blur      separable filters with a kernel a sample
geometry  affine and radial resampling
noise     random fields addressed by seed and index, power-law noise
vision    sRGB to cone responses and opponent channels
"""
