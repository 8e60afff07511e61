"""libjpeg-turbo through its TurboJPEG C API (2.x or 3.x), called from compiled code."""
