"""Checks of tensors: shape and type, finite values; names of types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .errors import InputError


def tensor(name: str, value: object, shape: Sequence[str | int], *, kind: str = "floats") -> Tensor:
    """``value``, a tensor or an array, as a tensor of that shape, without gradients.

    ``shape``: a letter stands for any size but 0. ``kind``: "floats", "whole numbers", or
    "numbers", either of them. Raises InputError with the parameter's ``name``, also for tensors
    without values (on the device "meta") and in sparse layouts.
    """
    given = value
    if isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
        try:  # torch knows neither foreign byte orders nor negative strides
            given = torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
        except TypeError:  # nor every type
            given = value
    if not (
        isinstance(given, Tensor)
        and not (given.is_nested or given.is_quantized)
        and given.layout == torch.strided
        and given.device.type != "meta"
        and _kind(given.dtype) in ((kind,) if kind != "numbers" else ("floats", "whole numbers"))
        and given.ndim == len(shape)
        and all(
            size == right if isinstance(right, int) else size > 0
            for size, right in zip(given.shape, shape, strict=True)
        )
    ):
        wanted = ", ".join(map(str, shape))
        raise InputError(
            f"{name} must be {kind} [{wanted}], a tensor or an array, got {described(value)}.",
            parameter=name,
        )
    return given.detach()


def _kind(dtype: torch.dtype) -> str:
    if dtype.is_floating_point:
        return "floats"
    return "others" if dtype.is_complex or dtype == torch.bool else "whole numbers"


def described(value: object) -> str:
    """Type and shape, as messages show them."""
    if isinstance(value, Tensor) and not value.is_nested:
        said = f"{dtype_name(value.dtype)} {[*value.shape]}"
        if value.layout != torch.strided:
            said += f" in the layout {str(value.layout).removeprefix('torch.')}"
        return said + (" on the device meta, without values" * (value.device.type == "meta"))
    if isinstance(value, np.ndarray):
        return f"{str(value.dtype)[:50]} {[*value.shape]}"
    return f"a {type(value).__name__}"


def is_finite(x: Tensor) -> bool:
    """Whether every value is finite: a single pass and, on a GPU, a single wait.

    The sum of float32 latents overflows only if they are far beyond use.
    """
    return bool(torch.isfinite(x.sum()))


def dtype_name(dtype: torch.dtype) -> str:
    """The type's name, such as "float32"."""
    return str(dtype).removeprefix("torch.")
