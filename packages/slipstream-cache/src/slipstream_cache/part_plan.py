"""Which samples go into which part: decided before any is written, by the content alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from slipstream_cache import layout
from slipstream_cache.manifest import part_name

_MAX_MEASURED: Final = 64
_SAMPLES_FOR_EACH_MEASURED: Final = 16
_WANTED_PARTS: Final = 64


@dataclass(frozen=True)
class PartRange:
    """The samples ``first_sample`` to ``first_sample + num_samples``, excluded, of one part."""

    number: int
    first_sample: int
    num_samples: int

    @property
    def name(self) -> str:
        """Directory name of the part."""
        return part_name(self.number)

    @property
    def end(self) -> int:
        """The sample behind the last one."""
        return self.first_sample + self.num_samples


def measured_samples(num_samples: int, is_sequential: bool = False) -> list[int]:
    """Ids of the samples whose sizes decide: at most 64, or one in 16.

    They are evenly spread, or the first ones of a source that is best read in its order.
    """
    count = min(_MAX_MEASURED, -(-num_samples // _SAMPLES_FOR_EACH_MEASURED))
    return [i if is_sequential else i * num_samples // count for i in range(count)]


def choose_samples_per_part(num_samples: int, measured_bytes: Iterable[int]) -> int:
    """Return how many samples each part holds.

    Parameters
    ----------
    num_samples : int
        Of the whole cache.
    measured_bytes : iterable of int
        Bytes of the stored values of each of ``measured_samples``.

    Returns
    -------
    int
        1 to ``MAX_PART_SAMPLES``. As many as make 64 parts, but parts of about
        ``MIN_PART_BYTES`` to ``MAX_PART_BYTES``, judged by the mean of the measured sizes.
    """
    sizes = list(measured_bytes)
    mean = max(1, sum(sizes) // max(1, len(sizes)))
    wanted = num_samples * mean // _WANTED_PARTS
    part_bytes = min(max(wanted, layout.MIN_PART_BYTES), layout.MAX_PART_BYTES)
    return min(max(1, part_bytes // mean), layout.MAX_PART_SAMPLES)


def split_samples(num_samples: int, samples_per_part: int) -> list[PartRange]:
    """Return the parts of a cache; the last one may be smaller."""
    return [
        PartRange(number, first, min(samples_per_part, num_samples - first))
        for number, first in enumerate(range(0, num_samples, samples_per_part))
    ]
