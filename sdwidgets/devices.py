"""Devices that have failed for good: after some errors, nothing can run on a GPU any more.

An assertion in a CUDA kernel (an index out of range) or an illegal memory access destroys the
process's context on that GPU: every later call there fails, with the same message or another, until
the process is restarted. So the first such error is raised as `DeviceLost`, and later work on that
device is refused before it begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import DeviceLost

if TYPE_CHECKING:
    import torch

_lost: dict[str, str] = {}  # device -> what it said first

# CUDA's and HIP's errors after which the context is gone (CUDA Runtime API, cudaError_t: "the
# process must be terminated and relaunched").
_SIGNS = (
    "device-side assert",
    "illegal memory access",
    "illegal address",
    "illegal instruction",
    "misaligned address",
    "invalid program counter",
    "hardware stack error",
    "unspecified launch failure",
    "launch timed out",
    "uncorrectable ecc error",
)


def is_lost(error: BaseException) -> bool:
    """Whether the error means that a GPU is lost to this process."""
    said = str(error).lower()
    kind = isinstance(error, RuntimeError)  # torch.AcceleratorError is one, in newer versions
    return kind and any(sign in said for sign in _SIGNS)


def lost(device: torch.device, error: BaseException) -> DeviceLost:
    """Mark a device as lost, and return the error to raise."""
    _lost.setdefault(_name(device), str(error).strip().splitlines()[0][:100].rstrip("."))
    return _explained(device)


def check_device(device: torch.device) -> None:
    """Raise ``DeviceLost`` if the device has failed for good."""
    if _name(device) in _lost:
        raise _explained(device)


class OnDevice:
    """A ``with`` block that works on a device. Raises ``DeviceLost`` if the device fails for good
    inside the block, or has failed before."""

    def __init__(self, device: torch.device):
        self.device = device

    def __enter__(self) -> None:
        check_device(self.device)

    def __exit__(self, kind: object, error: BaseException | None, frames: object) -> None:
        if error is not None and is_lost(error):
            raise lost(self.device, error) from None


def _name(device: torch.device) -> str:
    return f"{device.type}:{device.index or 0}"


def _explained(device: torch.device) -> DeviceLost:
    return DeviceLost(
        f"{device} has failed for good: {_lost[_name(device)]}.\n"
        "Nothing more can run on it in this process.\n"
        "Restart the kernel; saved files are not affected."
    )
