"""Evaluations that survive the death of their process.

`run` evaluates into a file and goes on where a killed process stopped; `journal` keeps one state
safely on disk; `codec` writes kernel state without pickle; `fingerprint` tells whether the graph,
the parameters and the source are still the same.
"""

from __future__ import annotations

from sqrtspace_streams.resume.journal import Journal
from sqrtspace_streams.resume.run import evaluate_resumable

__all__ = ["Journal", "evaluate_resumable"]
