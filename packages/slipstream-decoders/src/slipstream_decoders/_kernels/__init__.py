"""Compiled kernels: arrays and scalars in, status codes out."""
