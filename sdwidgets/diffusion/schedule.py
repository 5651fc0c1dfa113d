"""The noise level of each training step, and the grids of noise levels that samplers visit.

One convention holds everywhere: ``x = x0 + sigma * noise``. A network trained with variances
``beta_1..beta_T`` (DDPM, arXiv 2006.11239) sees the same latents as ``x / sqrt(1 + sigma^2)``. With
``abar_t`` the running product of ``1 - beta_t``, ``sigma_t = sqrt((1 - abar_t) / abar_t)`` (Karras
et al., arXiv 2206.00364, table 1). Only this file knows beta and abar.

Training steps are counted from 0, as the network counts them.
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

from .. import checks
from ..errors import InputError
from ..numerics import dtype_name, tensor

MOST_STEPS = 1_000_000  # of a training; published models have 1000
LEAST_ABAR = (
    2**-24
)  # what a schedule that ends in pure noise keeps of the image; sigma stays finite


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The noise levels a network was trained on: ``sigmas`` [T] float64 on the CPU, ascending.

    The grids (`karras`, `simple`, `leading` and others, see `SCHEDULES`) return the ``n + 1`` noise
    levels around the ``n`` steps of a sampler, 1 <= n <= T, descending, float64 on the CPU.
    ``spacing`` is the grid that the model's config names, one of `SPACINGS` (see `config`);
    ``offset`` is the training step at which `leading` ends.
    """

    sigmas: Tensor
    spacing: str = "leading"
    offset: int = 1

    def __post_init__(self) -> None:
        sigmas = tensor("sigmas", self.sigmas, ("T",))
        if len(sigmas) < 2 or sigmas.dtype != torch.float64:
            raise InputError(
                f"sigmas must be float64 [T >= 2], got {dtype_name(sigmas.dtype)} "
                f"{[*sigmas.shape]}.",
                parameter="sigmas",
            )
        if not (
            bool(torch.isfinite(sigmas).all()) and sigmas[0] > 0 and bool((sigmas.diff() > 0).all())
        ):
            raise InputError("sigmas must be finite, positive and ascending.", parameter="sigmas")
        object.__setattr__(self, "sigmas", sigmas.cpu())
        checks.choice("spacing", self.spacing, tuple(SPACINGS))
        checks.whole("offset", self.offset, 0, len(sigmas) - 1)

    @classmethod
    def from_betas(
        cls,
        steps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        kind: Literal["linear", "scaled_linear"] = "scaled_linear",
        *,
        zero_snr: bool = False,
        spacing: str = "leading",
        offset: int = 1,
    ) -> NoiseSchedule:
        """The schedule of variances from ``beta_start`` to ``beta_end``.

        "linear": evenly spaced (DDPM). "scaled_linear": with evenly spaced square roots (latent
        diffusion). ``zero_snr``: rescaled to end in pure noise (Lin et al., arXiv 2305.08891,
        algorithm 1), at sigma 4096 in place of infinity. Raises InputError.
        """
        steps = checks.whole("steps", steps, 2, MOST_STEPS)
        beta_start = checks.real("beta_start", beta_start, 0, 1)
        beta_end = checks.real("beta_end", beta_end, 0, 1)
        if checks.choice("kind", kind, ("linear", "scaled_linear")) == "linear":
            betas = _evenly(beta_start, beta_end, steps)
        else:
            betas = _evenly(beta_start**0.5, beta_end**0.5, steps) ** 2
        abar = torch.cumprod(1 - betas, dim=0)
        if checks.flag("zero_snr", zero_snr):
            abar = _to_pure_noise(abar)
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
        """The noise level of training step ``t`` in [0, T-1]; log(sigma) is linear in between.

        For a tensor, a float32 tensor of its shape on its device.
        """
        if isinstance(t, Tensor):
            t = tensor("t", t, tuple("abcdefgh"[: t.ndim]), kind="numbers")
            values = np.exp(
                np.interp(t.double().cpu().numpy(), np.arange(len(self)), self._log_sigmas)
            )
            return torch.as_tensor(values, dtype=torch.float32).to(t.device)
        t = checks.real("t", t, -math.inf, math.inf)
        return math.exp(np.interp(t, np.arange(len(self)), self._log_sigmas))

    @overload
    def t(self, sigma: float) -> float: ...
    @overload
    def t(self, sigma: Tensor) -> Tensor: ...
    def t(self, sigma: float | Tensor) -> float | Tensor:
        """The training step (with fraction) of a noise level: `sigma` inverted, in [0, T-1]."""
        if isinstance(sigma, Tensor):
            sigma = tensor("sigma", sigma, tuple("abcdefgh"[: sigma.ndim]), kind="numbers")
            logs = sigma.double().log().cpu().numpy()
            values = np.interp(logs, self._log_sigmas, np.arange(len(self)))
            return torch.as_tensor(values, dtype=torch.float32).to(sigma.device)
        sigma = checks.real("sigma", sigma, -math.inf, math.inf)
        if sigma <= 0:
            return 0.0
        return float(np.interp(math.log(sigma), self._log_sigmas, np.arange(len(self))))

    # -- grids -------------------------------------------------------------------------------

    def default(self, n: int) -> Tensor:
        """The grid of the model's config if that is one of `FROM_THE_TOP`, else `trailing`.

        Each begins at the noisiest level for any n. A run from noise has to: a network that is told
        of less noise than there is takes some of it for an image.
        """
        return self.config(n) if self.spacing in FROM_THE_TOP else self.trailing(n)

    def config(self, n: int) -> Tensor:
        """The grid that the model's config names, by its ``spacing``, as diffusers makes it."""
        return SPACINGS[self.spacing](self, n)

    def leading(self, n: int) -> Tensor:
        """The levels of t = o, o + T//n, o + 2 (T//n) ..., and 0. Stable Diffusion's own for o = 1.

        In diffusers' configuration: "leading" spacing with ``steps_offset`` o. It begins below the
        noisiest level: far below for few steps, and for more than half of T.
        """
        self._check(n)
        return self._at(self.offset + np.arange(n) * (len(self) // n))

    def ddim(self, n: int) -> Tensor:
        """`leading`, but ending at the noise level of training step 0 instead of 0.

        The DDIM sampler in Stable Diffusion's configuration (``set_alpha_to_one`` false) stops
        there. It leaves 3 % of noise in the latents, which the decoder removes.
        """
        grid = self.leading(n)
        if grid[-2] > self.sigmas[0]:  # with n = T the grid ends there already
            grid[-1] = self.sigmas[0]
        return grid

    def dpmsolver(self, n: int) -> Tensor:
        """The levels of t = o + T//(n+1), o + 2 (T//(n+1)) ..., and 0: DPM-Solver's `leading`."""
        self._check(n)
        return self._at(self.offset + np.arange(1, n + 1) * max(len(self) // (n + 1), 1))

    def uniform(self, n: int) -> Tensor:
        """The levels of ``n`` evenly spaced t from T-1 to 0, and 0 ("linspace" in diffusers)."""
        self._check(n)
        return self._at(np.linspace(len(self) - 1, 0, n)[::-1])

    def trailing(self, n: int) -> Tensor:
        """The levels of t = T-1 and every T/n below, and 0.

        It begins at the noisiest step for any n, which is best for few steps (Lin et al., arXiv
        2305.08891, section 3.3).
        """
        self._check(n)
        return self._at(np.round(np.arange(1, n + 1) * (len(self) / n)) - 1)

    def lcm(self, n: int) -> Tensor:
        """The levels of n of 50 steps, at about even distances from the noisiest on, and 0.

        Latent consistency models were distilled for the 50 steps t = T/50 - 1, 2 T/50 - 1, ... (Luo
        et al., arXiv 2310.04378, section 4.3). For more than 50, or a T that 50 does not divide,
        this is `trailing`.
        """
        self._check(n)
        apart, rest = divmod(len(self), DISTILLED)
        if n > DISTILLED or rest:
            return self.trailing(n)
        chosen = DISTILLED - np.arange(n) * DISTILLED // n
        return self._at(chosen[::-1] * float(apart) - 1)

    def simple(self, n: int) -> Tensor:
        """The levels of T-1 and every T/n-th training step below, and 0 (ComfyUI's "simple").

        Steps are rounded up where `trailing` rounds to the nearest.
        """
        self._check(n)
        return self._at(len(self) - 1.0 - np.arange(n)[::-1] * len(self) // n)

    def sgm_uniform(self, n: int) -> Tensor:
        """The levels of n + 1 evenly spaced t from T-1 to 0 without the last, and 0.

        The grid of Stability's generative-models; where `uniform` goes on to t = 0, it stops short.
        """
        self._check(n)
        return self._at(np.linspace(len(self) - 1, 0, n + 1)[:-1][::-1])

    def beta(self, n: int) -> Tensor:
        """The levels of t at the quantiles 1, 1 - 1/n, ... 1/n of Beta(0.6, 0.6) over T, and 0.

        Dense at both ends of the noise (Lee et al., "Beta Sampling is All You Need", arXiv
        2407.12173). ComfyUI rounds t, and so takes fewer steps where two of them coincide.
        """
        self._check(n)
        return self._at((len(self) - 1) * beta_quantiles(np.arange(1, n + 1) / n))

    def beta_sigmas(self, n: int) -> Tensor:
        """Levels at n evenly spaced quantiles of Beta(0.6, 0.6) over all sigmas, and 0.

        This is the "beta" of diffusers (``use_beta_sigmas``) and AUTOMATIC1111. The paper spreads t
        instead, as `beta` does.
        """
        self._check(n)
        low, high = float(self.sigmas[0]), float(self.sigmas[-1])
        return self._ending(low + (high - low) * beta_quantiles(np.linspace(1, 0, n)))

    def karras(self, n: int, rho: float = 7.0) -> Tensor:
        """Levels evenly spaced in sigma^(1/rho) over all of T, and 0 (arXiv 2206.00364, eq. 5)."""
        self._check(n)
        rho = checks.real("rho", rho, 0.1, 1000)
        low, high = float(self.sigmas[0]), float(self.sigmas[-1])
        return self._ending(np.linspace(high ** (1 / rho), low ** (1 / rho), n) ** rho)

    def exponential(self, n: int) -> Tensor:
        """Levels evenly spaced in log(sigma) over all of T, and 0 (k-diffusion's "exponential")."""
        self._check(n)
        logs = self._log_sigmas
        return self._ending(np.exp(np.linspace(logs[-1], logs[0], n)))

    def _check(self, n: int) -> None:
        if not checks.is_whole(n) or not 1 <= n <= len(self):
            raise InputError(
                f"A grid has 1 to {len(self)} steps, got {checks.shown(n)}.", parameter="n"
            )

    def _at(self, t: np.ndarray) -> Tensor:
        """The noise levels at the ascending ``t`` [n], in descending order, followed by 0."""
        t = t - max(t[-1] - (len(self) - 1), 0)  # for n near T the offset would leave the range
        sigmas = np.exp(np.interp(t, np.arange(len(self)), self._log_sigmas))
        return self._ending(sigmas[::-1])

    def _ending(self, sigmas: np.ndarray) -> Tensor:
        """The grid of descending ``sigmas`` [n], and 0; rounding leads none out of the range."""
        low, high = float(self.sigmas[0]), float(self.sigmas[-1])
        return torch.from_numpy(np.append(np.clip(sigmas, low, high), 0.0))


def _to_pure_noise(abar: Tensor) -> Tensor:
    """``abar`` [T] shifted and scaled in its square root, so that the last is (nearly) 0.

    The first stays as it is (arXiv 2305.08891, algorithm 1). The last is `LEAST_ABAR`, as in
    diffusers: a sigma of infinity is no noise level.
    """
    root = abar.sqrt()
    root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    return (root**2).clamp_min(LEAST_ABAR)


def _evenly(first: float, last: float, n: int) -> Tensor:
    """Float64 on the CPU, whatever the user's default device is."""
    return torch.linspace(first, last, n, dtype=torch.float64, device="cpu")


DISTILLED = 50
"""The steps of the teacher's grid in a latent consistency model; see `NoiseSchedule.lcm`."""

BETA = 0.6
"""Both parameters of the distribution of `NoiseSchedule.beta` (arXiv 2407.12173, section 4)."""


def beta_quantiles(p: np.ndarray) -> np.ndarray:
    """The x in [0, 1] where the distribution function I of Beta(a, a), a = `BETA`, is ``p``.

    I(x) = x^a (1-x)^a / (a B(a, a)) (1 + sum_k (2a)_k / (a+1)_k x^k), k > 0 (DLMF 8.17.8).
    Up to x = 1/2 the sum converges fast, and beyond, I(x) = 1 - I(1-x). Newton's method in u = x^a,
    in which I is nearly straight, is exact to rounding after five steps.
    """
    a, near = BETA, np.minimum(p, 1 - p)
    scale = a * math.gamma(a) ** 2 / math.gamma(2 * a)  # a B(a, a)
    k = np.arange(50)
    series = np.append(1.0, np.cumprod((2 * a + k) / (a + 1 + k)))[::-1]
    u = np.minimum(near * scale, 0.5**a)
    for _ in range(5):
        x = u ** (1 / a)
        found = u * (1 - x) ** a * np.polyval(series, x)
        u = u - (found - near * scale) * (1 - x) ** (1 - a)
    x = np.clip(u, 0, 0.5**a) ** (1 / a)
    return np.where(p > 0.5, 1 - x, x)


SPACINGS: dict[str, Callable[[NoiseSchedule, int], Tensor]] = {
    "leading": NoiseSchedule.leading,
    "linspace": NoiseSchedule.uniform,
    "trailing": NoiseSchedule.trailing,
    "karras": NoiseSchedule.karras,
    "exponential": NoiseSchedule.exponential,
    "beta": NoiseSchedule.beta_sigmas,
    "lcm": NoiseSchedule.lcm,
}
"""The grids that a model's config may name, by their names in diffusers' configurations."""

FROM_THE_TOP = ("karras", "exponential", "beta", "lcm")
"""Those of `SPACINGS` that begin at the noisiest level, and are no plain choice of steps."""

SCHEDULES: dict[str, Callable[[NoiseSchedule, int], Tensor]] = {
    "default": NoiseSchedule.default,
    "karras": NoiseSchedule.karras,
    "exponential": NoiseSchedule.exponential,
    "simple": NoiseSchedule.simple,
    "sgm_uniform": NoiseSchedule.sgm_uniform,
    "beta": NoiseSchedule.beta,
    "uniform": NoiseSchedule.uniform,
    "trailing": NoiseSchedule.trailing,
    "ddim": NoiseSchedule.ddim,
    "dpmsolver": NoiseSchedule.dpmsolver,
    "config": NoiseSchedule.config,
}
