"""Diffusion without networks: noise schedules, denoisers and samplers.

It needs torch, and nothing else of the kit.
"""

from .denoiser import (
    PREDICTIONS,
    Coefficients,
    Denoise,
    Denoiser,
    Prediction,
    coefficients,
    guide,
    inpainting,
)
from .samplers import SAMPLERS, Noise, Sampler, Step
from .schedule import SCHEDULES, NoiseSchedule

__all__ = [
    "PREDICTIONS",
    "SAMPLERS",
    "SCHEDULES",
    "Coefficients",
    "Denoise",
    "Denoiser",
    "Noise",
    "NoiseSchedule",
    "Prediction",
    "Sampler",
    "Step",
    "coefficients",
    "guide",
    "inpainting",
]
