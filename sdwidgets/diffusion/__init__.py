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
    repainted,
)
from .noise import slerp
from .samplers import SAMPLERS, Noise, Sampler, Step
from .schedule import SCHEDULES, NoiseSchedule
from .steering import classified, steered

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
    "classified",
    "coefficients",
    "guide",
    "inpainting",
    "repainted",
    "slerp",
    "steered",
]
