"""How much noise at which training step, and which noise levels a sampler visits.

One convention everywhere: ``x = x0 + sigma * noise``. A network trained with variances
``beta_1..beta_T`` (DDPM, arXiv 2006.11239) knows the same picture as ``x / sqrt(1 + sigma^2)``;
with ``abar_t`` the running product of ``1 - beta_t``, ``sigma_t = sqrt((1 - abar_t) / abar_t)``
(Karras et al., arXiv 2206.00364, table 1). This file is the only place that knows beta and abar.

Training steps are counted from 0 here, as the network counts them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, overload

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The noise levels a network was trained on: ``sigmas`` [T] float64 on the CPU, ascending.

    The grids (`leading`, `ddim`, `dpmsolver`, `uniform`, `trailing`, `karras`) return the ``n + 1``
    noise levels around the ``n`` steps of a sampler, 1 <= n <= T: descending, float64 on the CPU.
    ``spacing`` ("leading", "linspace", "trailing" or "karras") is the model's own, its `default`;
    ``offset`` the training step at which `leading` begins.
    """

    sigmas: Tensor
    spacing: str = "leading"
    offset: int = 1

    def __post_init__(self) -> None:
        sigmas = self.sigmas
        if sigmas.ndim != 1 or len(sigmas) < 2 or sigmas.dtype != torch.float64:
            raise ValueError(
                f"sigmas must be float64 [T >= 2], got {sigmas.dtype} {[*sigmas.shape]}"
            )
        if not (
            bool(torch.isfinite(sigmas).all()) and sigmas[0] > 0 and bool((sigmas.diff() > 0).all())
        ):
            raise ValueError("sigmas must be finite, positive and ascending")
        if self.spacing not in SPACINGS:
            raise ValueError(f"spacing must be one of {', '.join(SPACINGS)}, got {self.spacing!r}")
        if not 0 <= self.offset < len(sigmas):
            raise ValueError(f"offset must be 0 to {len(sigmas) - 1}, got {self.offset}")

    @classmethod
    def from_betas(
        cls,
        steps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        kind: Literal["linear", "scaled_linear"] = "scaled_linear",
        *,
        spacing: str = "leading",
        offset: int = 1,
    ) -> NoiseSchedule:
        """The schedule of variances from ``beta_start`` to ``beta_end``.

        "linear": evenly spaced (DDPM); "scaled_linear": their square roots are (latent diffusion).
        """
        if kind == "linear":
            betas = torch.linspace(beta_start, beta_end, steps, dtype=torch.float64)
        elif kind == "scaled_linear":
            betas = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
        else:
            raise ValueError(f"kind must be 'linear' or 'scaled_linear', got {kind!r}")
        abar = torch.cumprod(1 - betas, dim=0)
        return cls(torch.sqrt((1 - abar) / abar), spacing, offset)

    def __len__(self) -> int:
        """T, the number of training steps."""
        return len(self.sigmas)

    @cached_property
    def _log_sigmas(self) -> np.ndarray:
        return self.sigmas.log().numpy()

    @overload
    def sigma(self, t: float) -> float: ...
    @overload
    def sigma(self, t: Tensor) -> Tensor: ...
    def sigma(self, t: float | Tensor) -> float | Tensor:
        """Noise level at training step ``t`` in [0, T-1]; between steps log(sigma) is linear in t.

        A tensor gives a float32 tensor of its shape, on its device.
        """
        if isinstance(t, Tensor):
            values = np.exp(
                np.interp(t.double().cpu().numpy(), np.arange(len(self)), self._log_sigmas)
            )
            return torch.as_tensor(values, dtype=torch.float32).to(t.device)
        return math.exp(np.interp(t, np.arange(len(self)), self._log_sigmas))

    @overload
    def t(self, sigma: float) -> float: ...
    @overload
    def t(self, sigma: Tensor) -> Tensor: ...
    def t(self, sigma: float | Tensor) -> float | Tensor:
        """Training step (with fraction) of a noise level: `sigma` inverted, within [0, T-1]."""
        if isinstance(sigma, Tensor):
            logs = sigma.double().log().cpu().numpy()
            values = np.interp(logs, self._log_sigmas, np.arange(len(self)))
            return torch.as_tensor(values, dtype=torch.float32).to(sigma.device)
        if sigma <= 0:
            return 0.0
        return float(np.interp(math.log(sigma), self._log_sigmas, np.arange(len(self))))

    # -- grids -------------------------------------------------------------------------------

    def default(self, n: int) -> Tensor:
        """The model's own grid, by its ``spacing``."""
        return SPACINGS[self.spacing](self, n)

    def leading(self, n: int) -> Tensor:
        """t = o, o + T//n, o + 2 (T//n) ..., then 0; with the offset o = 1 Stable Diffusion's own.

        ("leading" spacing with ``steps_offset`` o in diffusers' configuration.)
        """
        self._check(n)
        return self._at(self.offset + np.arange(n) * (len(self) // n))

    def ddim(self, n: int) -> Tensor:
        """`leading`, ending at the noise of training step 0 in place of 0.

        The sampler of the DDIM paper with Stable Diffusion's configuration (``set_alpha_to_one``
        false) stops there: 3 % of noise is left in the latents, and the decoder takes it away.
        """
        grid = self.leading(n)
        if grid[-2] > self.sigmas[0]:  # with n = T the grid is there already
            grid[-1] = self.sigmas[0]
        return grid

    def dpmsolver(self, n: int) -> Tensor:
        """t = o + T//(n+1), o + 2 (T//(n+1)) ..., then 0: "leading" as DPM-Solver counts it."""
        self._check(n)
        return self._at(self.offset + np.arange(1, n + 1) * max(len(self) // (n + 1), 1))

    def uniform(self, n: int) -> Tensor:
        """``n`` evenly spaced t from 0 to T-1, both included, then 0 ("linspace" in diffusers)."""
        self._check(n)
        return self._at(np.linspace(len(self) - 1, 0, n)[::-1])

    def trailing(self, n: int) -> Tensor:
        """t = T-1 and every T/n below it, then 0.

        Begins at the noisiest step whatever n: best for few steps (Lin et al., arXiv 2305.08891,
        section 3.3).
        """
        self._check(n)
        return self._at(np.round(np.arange(1, n + 1) * (len(self) / n)) - 1)

    def karras(self, n: int, rho: float = 7.0) -> Tensor:
        """Evenly spaced in sigma^(1/rho) over all of T, then 0 (arXiv 2206.00364, eq. 5)."""
        self._check(n)
        low, high = float(self.sigmas[0]), float(self.sigmas[-1])
        roots = torch.linspace(high ** (1 / rho), low ** (1 / rho), n, dtype=torch.float64)
        sigmas = (roots**rho).clamp(low, high)  # rounding may leave the range
        return torch.cat([sigmas, sigmas.new_zeros(1)])

    def _check(self, n: int) -> None:
        if not 1 <= n <= len(self):
            raise ValueError(f"a grid has 1 to {len(self)} steps, got {n}")

    def _at(self, t: np.ndarray) -> Tensor:
        """The noise levels at ``t`` [n], ascending, turned round and closed with 0."""
        t = t - max(t[-1] - (len(self) - 1), 0)  # with n near T the offset of 1 leaves the range
        sigmas = np.exp(np.interp(t, np.arange(len(self)), self._log_sigmas))
        return torch.from_numpy(np.append(sigmas[::-1], 0.0))


SPACINGS: dict[str, Callable[[NoiseSchedule, int], Tensor]] = {
    "leading": NoiseSchedule.leading,
    "linspace": NoiseSchedule.uniform,
    "trailing": NoiseSchedule.trailing,
    "karras": NoiseSchedule.karras,
}
"""What a model's own grid may be, by the names that diffusers' configurations have for them."""

SCHEDULES: dict[str, Callable[[NoiseSchedule, int], Tensor]] = {
    "default": NoiseSchedule.default,
    "karras": NoiseSchedule.karras,
    "uniform": NoiseSchedule.uniform,
    "trailing": NoiseSchedule.trailing,
    "ddim": NoiseSchedule.ddim,
    "dpmsolver": NoiseSchedule.dpmsolver,
}
