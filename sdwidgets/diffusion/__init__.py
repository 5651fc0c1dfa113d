"""Diffusion without networks: noise schedules, denoisers and samplers.

Needs torch and nothing of ours.
"""

from .denoiser import Denoise, Denoiser, coefficients, guide, inpainting
from .samplers import SAMPLERS, Noise, Sampler, Step
from .schedule import SCHEDULES, NoiseSchedule

__all__ = [
    "SAMPLERS",
    "SCHEDULES",
    "Denoise",
    "Denoiser",
    "Noise",
    "NoiseSchedule",
    "Sampler",
    "Step",
    "coefficients",
    "guide",
    "inpainting",
]
