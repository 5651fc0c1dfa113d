"""All errors that the package raises on purpose.

``except sdwidgets.SDWidgetsError`` catches them all. Each is also the built-in error that a Python
programmer expects (``ValueError``, ``FileNotFoundError``, ``MemoryError``), so generic handlers
work too. Messages are written to be shown to users as they are: what happened, why and what to do,
in at most three short lines.
"""

from __future__ import annotations

from pathlib import Path


class SDWidgetsError(Exception):
    """Base class of all errors of this package."""


class InputError(SDWidgetsError, ValueError):
    """A setting, prompt or image that cannot be used; nothing has been computed yet.

    ``parameter`` is the name of the offending argument ("steps", "width", ...).
    """

    def __init__(self, message: str, *, parameter: str | None = None):
        super().__init__(message)
        self.parameter = parameter


class ImageError(InputError):
    """An image or mask that cannot be read or used."""


class CheckpointError(SDWidgetsError):
    """A model file or folder that is truncated, of another kind, unsafe or does not fit.

    Nothing was loaded. ``lora``: the LoRA that the error is about, as its path was given; None for
    any other file.
    """

    lora: Path | None = None


class CheckpointNotFound(CheckpointError, FileNotFoundError):
    """There is no model of this name or path."""


class HubError(CheckpointError):
    """The model hub could not be reached, refused, or sent something else than was requested."""


class OutOfMemory(SDWidgetsError, MemoryError):
    """The run or the model does not fit into memory; the message says what would."""


class DeviceLost(SDWidgetsError, RuntimeError):
    """A GPU has failed for good: nothing runs on it until the process, or kernel, is restarted."""


class NumericsError(SDWidgetsError, ArithmeticError):
    """NaN or infinity in a result; the message names the component, the step and the dtype."""


class Stopped(SDWidgetsError):
    """The run was stopped before it finished."""


class Busy(SDWidgetsError, RuntimeError):
    """The call cannot be served now, such as waiting for a run inside another run's callback."""


class WorkerLost(SDWidgetsError, RuntimeError):
    """A point of a sweep for which two workers of a cluster were lost, one after the other."""


class ClusterLost(SDWidgetsError, ConnectionError):
    """A cluster that cannot go on with a sweep: its scheduler or all of its workers are gone.

    Results that came back before are kept.
    """
