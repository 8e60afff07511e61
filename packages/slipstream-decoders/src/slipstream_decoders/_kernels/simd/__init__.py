"""Explicit vectors inside nopython code, with no compiler but numba's own LLVM.

A numba value here can be an LLVM vector of 512 bits; every operation is an intrinsic that emits
portable LLVM instructions, so one source becomes one zmm, two ymm or four xmm/NEON registers,
whatever the processor has. Memory is reached through int64 addresses: no array structs, no
reference counts, no wrap-around indexing. Nothing here checks bounds: callers do.

vectors     the types, and ``define``, which turns LLVM instructions into an intrinsic
memory      scalar and vector loads and stores at an address
arithmetic  lane-wise operations
pairs       16-bit numbers: products, packing, and bytes picked
half        float32 -> float16
tiles       transposes of 16 x 16 tiles
taps        pixels times weights, the steps of a planar resize
colour      rows of Y, Cb, Cr -> RGB, the last step of a planar resize
chroma      rows of chroma to luma's resolution, rows of Y, Cb, Cr -> RGB, as libjpeg does it
interleave  rows of Y, Cb, Cr -> interleaved YUV or RGB, at the planes' own size
"""
