"""Every error this project raises on purpose: one sentence with the name, what it got, and the remedy."""

from __future__ import annotations


class GspnError(Exception):
    """Base of all errors whose message is written for the person who reads it."""


class BadSetting(GspnError, ValueError):
    """A setting outside its range; `field` names it so that a form can point at it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field

    def __reduce__(self):
        return type(self), (self.field, str(self))


class UnsupportedSize(BadSetting):
    """A target or aspect ratio that the model cannot reach."""


class OverBudget(BadSetting):
    """A run that does not fit into the available memory, known before it starts."""


class BadTensor(GspnError, ValueError):
    """A tensor of the wrong shape, dtype or device."""


class ModelUnavailable(GspnError):
    """Weights that are missing, corrupt, of another layout, or not allowed here."""


class AdapterMismatch(GspnError):
    """An adapter whose names or shapes are not those of the UNet it is loaded into."""


class OutOfMemory(GspnError):
    """A stage needed more memory than the device has."""


class CannotWrite(GspnError):
    """A folder or a file cannot be written."""


class NotFinite(GspnError):
    """NaN or infinite latents or pixels: the weights are broken or half precision overflowed."""


class NotOwner(GspnError):
    """An action on a run or a study of another visitor."""


class Busy(GspnError):
    """A queue that is full or closing."""


class WorkerLost(GspnError):
    """A worker on another process or machine is gone in the middle of a run."""


class Stopped(GspnError):
    """The run was asked to stop; finished stages are kept."""
