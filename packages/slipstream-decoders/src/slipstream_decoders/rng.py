"""Counter-based random numbers: Philox 4x32-10, keyed by what a draw is for.

A draw depends on (seed, epoch, view name, stage name) through the key and on (sample id,
occurrence, number of the draw) through the counter, and on nothing else: not on the position in the
batch, the batch size, the thread, the rank or the draws made before.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.philox import fill_uniforms, fill_words


def stream_key(seed: int, epoch: int, *names: str) -> int:
    """The 64-bit key of one random stream.

    Parameters
    ----------
    seed, epoch : int
        Of the loader, or the seed given to a stage.
    *names : str
        What the draws are for, such as a view name and a stage name. Order matters.

    Returns
    -------
    int
        In [0, 2**64).
    """
    hasher = hashlib.blake2b(f"slipstream.rng.1:{int(seed)}:{int(epoch)}".encode(), digest_size=8)
    for name in names:
        encoded = name.encode()
        hasher.update(f"/{len(encoded)}:".encode() + encoded)
    return int.from_bytes(hasher.digest(), "little")


def uniforms(
    key: int, sample_ids: NDArray[np.int64], occurrences: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """Uniform numbers for the samples of a batch.

    Parameters
    ----------
    key : int
        From ``stream_key``.
    sample_ids, occurrences : ndarray of int64, shape (B,)
        An occurrence counts repeats of the sample within the epoch; it is below 2**32.
    count : int
        Numbers a sample.

    Returns
    -------
    ndarray of float64, shape (B, count)
        In [0, 1), multiples of 2**-53. The first numbers do not depend on ``count``.
    """
    out = np.empty((sample_ids.shape[0], count), np.float64)
    fill_uniforms(np.uint64(key), sample_ids, occurrences, out)
    return out


def words(key: int, count: int) -> NDArray[np.uint64]:
    """``count`` random 64-bit words, numbered 0, 1, ...: for the order of an epoch.

    Returns
    -------
    ndarray of uint64, shape (count,)
    """
    out = np.empty(count, np.uint64)
    fill_words(np.uint64(key), out)
    return out
