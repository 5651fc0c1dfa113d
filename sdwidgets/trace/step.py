"""A step of a run as plain data: numpy arrays, whatever device the run was on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..checks import shown
from ..contract import RECORD
from ..errors import InputError

if TYPE_CHECKING:
    from ..diffusion.samplers import Step

SIGMA_LIMIT = float(RECORD["sigma"])
"""The highest noise level of a step."""

Maps = Mapping[str, np.ndarray]
"""Name of a layer -> [B, K, T, h, w] float16: attention to T tokens, in the order of the layers.

K is the number of heads where they were kept apart, else 1, for their mean. Token 0 is the start;
the prompt's pieces and the end follow. The last column holds what all remaining tokens got
together, so that each cell sums to 1.
"""


class Queries(NamedTuple):
    """A layer's queries in eight bits, q = ``values * scale``."""

    values: np.ndarray  # [B, N, C] int8
    scale: np.ndarray  # [B, N, 1] float32


@dataclass(frozen=True, eq=False)
class StepAttention:
    """The attention of one step. What was not asked for is empty."""

    cross: Maps = field(default_factory=dict, repr=False)
    uncond: Maps = field(default_factory=dict, repr=False)  # the negative prompt's half
    cells: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    """Self-attention: layer -> [B, hw, hw] float16, the mean over heads; each row sums to 1. Only
    for the prompt's half, and for layers with at most 256 cells."""
    queries: Mapping[str, Queries] = field(default_factory=dict, repr=False)
    """The queries of cross-attention, for the prompt's half and the same layers."""


@dataclass(frozen=True, eq=False)
class TraceStep:
    """One recorded step: the fields of `diffusion.Step`, as float32 arrays [B, C, h, w].

    Arrays may be shared between steps and, on the CPU, with the run: do not write into them.
    """

    index: int  # 0, 1, ...
    sigma: float  # the noise level of x
    x: np.ndarray = field(repr=False)  # the noisy latents, x0 + sigma * noise
    denoised: np.ndarray = field(repr=False)  # the clean latents the network expects at x
    sigma_next: float
    x_next: np.ndarray = field(repr=False)  # the latents after the step, at sigma_next
    attention: StepAttention | None = field(default=None, repr=False)
    cond: np.ndarray | None = field(default=None, repr=False)  # denoised by the prompt alone
    uncond: np.ndarray | None = field(default=None, repr=False)  # and by the negative prompt alone
    seconds: float | None = None  # the time it took
    control: Maps = field(default_factory=dict, repr=False)
    """What controls add: level -> [B, K, 1, h, w] float16 of K controls; see `ControlRecorder`."""
    draws: int | None = None  # how often the run had drawn noise before it; None: not known


def as_array(values: Any) -> np.ndarray:
    """float32, from an array or a tensor on any device; memory is shared where possible."""
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=np.float32)


def recorded(
    step: Step, seconds: float | None = None, before: TraceStep | None = None
) -> TraceStep:
    """The record of a step; its x is the x_next of ``before``, the record of the step before it.

    Raises InputError as `check_steps`.
    """
    check_steps([step])
    return TraceStep(
        index=step.index,
        sigma=float(step.sigma),
        x=as_array(step.x) if before is None else before.x_next,
        denoised=as_array(step.denoised),
        sigma_next=float(step.sigma_next),
        x_next=as_array(step.x_next),
        attention=step.attention,
        cond=None if step.cond is None else as_array(step.cond),
        uncond=None if step.uncond is None else as_array(step.uncond),
        seconds=seconds,
        control=getattr(step, "control", None) or {},
        draws=getattr(step, "draws", None),
    )


def check_steps(steps: Iterable[Step]) -> None:
    """Raise InputError unless all are steps with possible noise levels.

    A caller's own loop may pass anything."""
    for step in steps:
        if not all(hasattr(step, name) for name in _NEEDED):
            raise InputError(
                f"A step must be a Step of a run, got {shown(step)}.\n"
                "Give the steps that model.sample(...) yields.",
                parameter="steps",
            )
        for name in ("sigma", "sigma_next"):
            level = float(getattr(step, name))
            if not 0 <= level <= SIGMA_LIMIT:  # NaN is not
                raise InputError(
                    f"{name} of step {step.index} is {level:g}; a noise level is from 0 to "
                    f"{SIGMA_LIMIT:g}.",
                    parameter=name,
                )


_NEEDED = ("index", "sigma", "x", "denoised", "sigma_next", "x_next")
