"""Samplers: generators of `Step`s over ``denoise(x, sigma)``, from noise to clean latents.

Each follows the probability flow ``dx/dsigma = (x - denoise(x, sigma)) / sigma`` (Karras et al.,
arXiv 2206.00364, eq. 1 with sigma(t) = t) down a grid of noise levels; some add noise again. To add
a sampler, write a generator and put it into `SAMPLERS`; its keyword arguments are its options.

``sigmas`` are the levels that are left, the first is that of ``x``. A sampler yields ``len(sigmas)
- 1`` steps, and ``steps[i].x_next is steps[i + 1].x``.

``before`` are the steps of the same run that were made already, oldest first. A sampler that looks
back reads their ``sigma``, ``x`` and ``denoised``, so a run that was stopped goes on as if it had
not been, to the bit. The steps that it yields then count from 0 again.
"""

from __future__ import annotations

from .ancestral import ddim, ddpm, dpm2_ancestral, dpmpp_2s_ancestral, euler_ancestral
from .few_step import lcm, tcd
from .multistep import dpmpp_2m, lms, plms, unipc
from .one_step import dpm2, euler, heun
from .sde import dpmpp_2m_sde, dpmpp_3m_sde, dpmpp_sde
from .step import Levels, Noise, Sampler, Step

__all__ = [
    "SAMPLERS",
    "Levels",
    "Noise",
    "Sampler",
    "Step",
    "ddim",
    "ddpm",
    "dpm2",
    "dpm2_ancestral",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_2s_ancestral",
    "dpmpp_3m_sde",
    "dpmpp_sde",
    "euler",
    "euler_ancestral",
    "heun",
    "lcm",
    "lms",
    "plms",
    "tcd",
    "unipc",
]

SAMPLERS: dict[str, Sampler] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "plms": plms,
    "euler": euler,
    "euler_ancestral": euler_ancestral,
    "heun": heun,
    "dpm2": dpm2,
    "dpm2_ancestral": dpm2_ancestral,
    "lms": lms,
    "dpmpp_2s_ancestral": dpmpp_2s_ancestral,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_sde": dpmpp_sde,
    "dpmpp_2m_sde": dpmpp_2m_sde,
    "dpmpp_3m_sde": dpmpp_3m_sde,
    "unipc": unipc,
    "lcm": lcm,
    "tcd": tcd,
}
"""The samplers by their names, which are k-diffusion's."""
