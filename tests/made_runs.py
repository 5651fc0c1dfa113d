"""Large runs, made up, and how much a widget that shows a run adds to a notebook."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from ipywidgets.widgets.widget import _remove_buffers
from PIL import Image

from sdwidgets.settings import Settings
from sdwidgets.trace import PromptTokens, StepAttention, Trace, TraceStep


def large(count: int = 12, side: int = 64) -> Trace:
    """Return a made-up run of Stable Diffusion's size."""
    random = np.random.default_rng(0)
    latents = random.normal(size=(1, 4, side, side)).astype(np.float32)
    maps = {
        f"up_blocks.{i}": random.random((1, 1, 8, side >> i, side >> i)).astype(np.float16)
        for i in range(3)
    }
    made = [
        TraceStep(i, 2.0, latents, latents, 1.0, latents, StepAttention(maps), latents, latents)
        for i in range(count)
    ]
    picture = Image.new("RGB", (8 * side, 8 * side))
    settings = Settings(steps=count, seed=1, width=8 * side, height=8 * side)
    tokens = (PromptTokens("a cat", ("a", "cat"), ((0, 1), (2, 5))),)
    return Trace("made up", "text to image", settings, tokens, tuple(made), (picture,))


def saved_size(widget: Any) -> int:
    """Return how many characters a widget adds to a notebook: JSON, and bytes in base64."""
    state, _, buffers = _remove_buffers(widget.get_state())
    return len(json.dumps(state)) + sum(100 + 4 * (len(buffer) + 2) // 3 for buffer in buffers)
