"""Arithmetic that rounds as on another machine: otherwise for other shapes.

A processor's kernels add in an order that depends on the shapes of their inputs and on the machine.
The same image may then differ in its last bits between a batch of two and a batch of its own. A
test that asks for equal bits there passes only on some machines.
"""

from __future__ import annotations

import functools
import zlib
from typing import Any

import pytest
import torch
from torch.nn import functional

OPERATIONS = (
    (functional, "linear"),
    (functional, "conv2d"),
    (functional, "group_norm"),
    (functional, "layer_norm"),
    (functional, "scaled_dot_product_attention"),
    (torch, "softmax"),
    (torch, "bmm"),
    (torch, "baddbmm"),
    (torch, "einsum"),
)
UNITS = 2  # in the last place of float32, at most


def round_otherwise(patch: pytest.MonkeyPatch) -> None:
    """Change the last bits of what the networks compute, the same way for the same shapes."""
    for module, name in OPERATIONS:
        patch.setattr(module, name, _rounded(name, getattr(module, name)))


def _rounded(name: str, operation: Any) -> Any:
    @functools.wraps(operation)
    def otherwise(*args: Any, **kwargs: Any) -> Any:
        result = operation(*args, **kwargs)
        if not isinstance(result, torch.Tensor) or result.dtype != torch.float32:
            return result
        if result.device.type != "cpu" or torch.compiler.is_compiling():
            return result
        shapes = [tuple(each.shape) for each in args if isinstance(each, torch.Tensor)]
        return result * _factors(name, str(shapes), tuple(result.shape))

    return otherwise


@functools.lru_cache(maxsize=512)
def _factors(name: str, shapes: str, shape: tuple[int, ...]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(f"{name} {shapes}".encode()))
    units = torch.randint(-UNITS, UNITS + 1, shape, generator=generator)
    return 1 + units * torch.finfo(torch.float32).eps
