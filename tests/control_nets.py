"""Small ControlNets with random weights, and images for them to read."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from sdwidgets.configs import ControlNetConfig, ModelConfig
from sdwidgets.models.controlnet import ControlNet


def control_config(model: ModelConfig, **more: Any) -> ControlNetConfig:
    """Return the config of a small ControlNet for a model, with a hint of its factor."""
    levels = len(model.autoencoder.channels)
    return ControlNetConfig(model.unet, hint_widths=(4, 8, 12, 16)[:levels], **more)


def random_control(config: ControlNetConfig, seed: int = 0) -> ControlNet:
    """Return a ControlNet whose zero convolutions are not zero, so that it adds something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ControlNet(config)
        for layer in (*net.controlnet_down_blocks, net.controlnet_mid_block):
            nn.init.normal_(layer.weight, std=layer.weight.shape[1] ** -0.5)
    return net.eval().requires_grad_(False)


def picture(width: int = 16, height: int = 16, seed: int = 0) -> Image.Image:
    """Return an image of random colours in blocks."""
    values = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST)
