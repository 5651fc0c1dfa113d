"""Whether numbers are finite, and what their type is called."""

from __future__ import annotations

import torch
from torch import Tensor


def is_finite(x: Tensor) -> bool:
    """Whether every value is finite: a single pass and, on a GPU, a single wait.

    The sum of float32 latents overflows only if they are far beyond use.
    """
    return bool(torch.isfinite(x.sum()))


def dtype_name(dtype: torch.dtype) -> str:
    """The type's name, such as "float32"."""
    return str(dtype).removeprefix("torch.")
