"""Batched image decoding."""
