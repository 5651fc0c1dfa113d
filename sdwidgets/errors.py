"""Every error the kit raises on purpose: what happened, why, and what to do, from one tree.

``except sdwidgets.SDWidgetsError`` catches them all. Each also is the built-in error a Python
programmer would expect (``ValueError``, ``FileNotFoundError``, ``MemoryError``), so generic
handlers work too. The text of an error is written to be shown to a person as it is: at most
three short lines, with the numbers and the remedy.
"""

from __future__ import annotations


class SDWidgetsError(Exception):
    """Root of all errors of this package."""


class InputError(SDWidgetsError, ValueError):
    """A setting, prompt or image that cannot be used; nothing has been computed yet.

    ``parameter`` is the name of the offending argument ("steps", "width", ...).
    """

    def __init__(self, message: str, *, parameter: str | None = None):
        super().__init__(message)
        self.parameter = parameter


class ImageError(InputError):
    """A picture or mask that cannot be read or used."""


class CheckpointError(SDWidgetsError):
    """A model file or folder that is cut, foreign, unsafe or does not fit. Nothing was loaded."""


class CheckpointNotFound(CheckpointError, FileNotFoundError):
    """No model of that name or path."""


class HubError(CheckpointError):
    """The model hub could not be reached, refused, or sent something other than asked for."""


class OutOfMemory(SDWidgetsError, MemoryError):
    """The run or the model does not fit into memory; the message says which sizes would."""


class NumericsError(SDWidgetsError, ArithmeticError):
    """NaN or infinity where there must be none; names the component, the step and the dtype."""


class Stopped(SDWidgetsError):
    """The run was stopped before it finished."""


class Busy(SDWidgetsError, RuntimeError):
    """The worker cannot take this call now (for example, a run started from inside a run)."""
