"""Two-pass estimators: a kernel that runs forward, and one that runs back over its rows."""

from __future__ import annotations

from sqrtspace_streams.smoothers.kalman import LinearGaussian, kalman_smoother
from sqrtspace_streams.smoothers.viterbi import viterbi
from sqrtspace_streams.smoothers.zero_phase import zero_phase

__all__ = ["LinearGaussian", "kalman_smoother", "viterbi", "zero_phase"]
