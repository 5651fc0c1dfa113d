"""Diffusion without networks: noise schedules, denoisers and samplers.

Needs torch and nothing of ours.
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
