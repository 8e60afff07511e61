"""When to keep a state, and when to compute again: how to walk a stream backwards in few bytes.

Every schedule is a *split rule* (`reversal.Split`) that `reversal.actions` turns into actions.
`choice.choose` picks one for the bytes of a state, the bytes of a row and a budget.
"""

from __future__ import annotations

from sqrtspace_streams.schedules.binomial import binomial_steps, revolve
from sqrtspace_streams.schedules.choice import Reversal, choose
from sqrtspace_streams.schedules.exact import ExactTable
from sqrtspace_streams.schedules.mixed import mixed, mixed_steps
from sqrtspace_streams.schedules.reversal import Action, Tally, actions, num_steps, tally, uniform
from sqrtspace_streams.schedules.thin import ThinPlacement

__all__ = [
    "Action",
    "ExactTable",
    "Reversal",
    "Tally",
    "ThinPlacement",
    "actions",
    "binomial_steps",
    "choose",
    "mixed",
    "mixed_steps",
    "num_steps",
    "revolve",
    "tally",
    "uniform",
]
