"""Kernels for GPUs: Triton alone."""
