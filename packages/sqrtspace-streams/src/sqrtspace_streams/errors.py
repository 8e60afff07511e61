"""The errors of this package.

::

    StreamsError
    ├── GraphError              ValueError     a stage that cannot be part of the graph
    │   └── CycleError                         a stage that would need itself
    ├── ParameterError          ValueError     a stage parameter that is missing or unknown
    ├── SourceError             OSError        samples that the source could not give
    ├── ClosedError             ValueError     samples pushed after ``close()``
    ├── WindowExpiredError      LookupError    windows whose samples are no longer kept
    ├── StateError              TypeError      kernel state that cannot be copied exactly
    ├── ResumeError             ValueError     a directory that holds another run, or none
    │   └── DamagedResumeError                 files of a run that were altered or cut off
    ├── BackendUnavailableError ImportError    a backend whose library is not installed
    └── StageError              RuntimeError   a stage that raised or returned something else
        ├── RowCouplingError                   a stage that mixes windows
        └── ImpureStageError                   a stage that answers differently when asked again

    TruncatedRangeWarning       UserWarning    a range that goes past the end of the stream

Each one also is the builtin in the second column, so callers need no import to catch it.
"""

from __future__ import annotations


class StreamsError(Exception):
    """Base of all errors of sqrtspace-streams."""


class GraphError(StreamsError, ValueError):
    """A stage cannot be part of the graph."""


class CycleError(GraphError):
    """A stage would need its own output."""


class ParameterError(StreamsError, ValueError):
    """A parameter of a stage is missing, or no stage knows it."""


class SourceError(StreamsError, OSError):
    """A source could not give the samples that it promised."""


class ClosedError(StreamsError, ValueError):
    """Samples were pushed after the stream was closed."""


class WindowExpiredError(StreamsError, LookupError):
    """The samples of a window, or those that its history needs, are no longer kept."""


class StateError(StreamsError, TypeError):
    """The state of a kernel holds something that cannot be copied exactly."""


class ResumeError(StreamsError, ValueError):
    """A directory holds the files of another run, or something else."""


class DamagedResumeError(ResumeError):
    """Files of a run were altered or cut off."""


class BackendUnavailableError(StreamsError, ImportError):
    """The library of a backend is not installed, or it sees no device."""


class StageError(StreamsError, RuntimeError):
    """A stage raised, or returned something else than one row per window.

    Attributes
    ----------
    stage : str
        Name of the stage.
    t0, t1 : int
        The windows ``[t0, t1)`` that it was called with.
    """

    def __init__(self, stage: str, t0: int, t1: int, problem: str) -> None:
        super().__init__(f"stage {stage!r}, windows [{t0}, {t1}): {problem}")
        self.stage, self.t0, self.t1, self.problem = stage, t0, t1, problem

    def __reduce__(self) -> tuple[type[StageError], tuple[str, int, int, str]]:
        return type(self), (self.stage, self.t0, self.t1, self.problem)


class RowCouplingError(StageError):
    """The output of a stage for one window depends on which other windows are in the call."""


class ImpureStageError(StageError):
    """A stage gave two answers for the same input."""


class TruncatedRangeWarning(UserWarning):
    """A range ends after the last full window; what exists was returned."""
