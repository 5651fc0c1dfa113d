"""Images to tensors and back: float32 [1, 3, H, W] in [-1, 1], what autoencoders take and give."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_tensor(image: Image.Image | np.ndarray) -> Tensor:
    """[1, 3, H, W] float32 in [-1, 1] of an RGB image, or of an array uint8 [H, W, 3]."""
    return from_levels(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None])


def to_image(pixels: Tensor) -> Image.Image:
    """The RGB image of ``pixels`` [3, H, W] in [-1, 1]; NaN becomes grey."""
    return Image.fromarray(to_levels(pixels).permute(1, 2, 0).cpu().numpy())


def from_levels(levels: Tensor) -> Tensor:
    """Float32 in [-1, 1] of levels 0 to 255."""
    return levels.float() / 127.5 - 1


def to_levels(pixels: Tensor) -> Tensor:
    """The nearest levels, uint8 0 to 255, of pixels in [-1, 1]; NaN becomes 128, a middle grey."""
    return (pixels.float().nan_to_num().clamp(-1, 1) + 1).mul(127.5).round().to(torch.uint8)
