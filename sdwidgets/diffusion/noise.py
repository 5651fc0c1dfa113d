"""Noise between noises."""

from __future__ import annotations

import torch
from torch import Tensor


def slerp(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Return the noise at ``share`` (0 to 1) of the way from one noise to another, same shape.

    Spherical interpolation (Shoemake, "Animating Rotation with Quaternion Curves", SIGGRAPH 1985,
    section 3.3), with theta the angle between the two as vectors of all their values::

        sin((1 - u) theta) / sin(theta) * first + sin(u theta) / sin(theta) * second

    Independent noises are nearly orthogonal, so the squares of the weights sum to 1 and the
    variance stays 1, where a straight line would lose up to half of it. At 0 and 1 the result is
    the given noise itself.
    """
    if share <= 0:
        return first
    if share >= 1:
        return second
    a, b = first.double().flatten(), second.double().flatten()
    cosine = float(torch.dot(a, b) / (a.norm() * b.norm()).clamp_min(1e-300))
    theta = torch.acos(torch.tensor(min(max(cosine, -1.0), 1.0), dtype=torch.float64))
    if float(theta.sin()) < 1e-6:  # the same direction, or the opposite: there is no arc to follow
        return torch.lerp(first, second, share)
    weights = torch.sin(torch.tensor([1 - share, share], dtype=torch.float64) * theta) / theta.sin()
    return (weights[0] * first.double() + weights[1] * second.double()).to(first.dtype)
