"""Recording what ControlNets add: how large it is beside what it is added to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..models.controlled import Added
from ..models.windows import Blended, Window
from .attention import arrays
from .control_map import LARGEST


class ControlRecorder:
    """Keeps what each control adds in the first call of each step.

    ``look`` is that of `models.controlled.Controlled`; ``take()`` returns what was recorded since
    the last take: for each level of the network, [B, K, 1, h, w] float16 of K controls. A value is
    the mean magnitude, over channels, of what the control adds there, divided by that of the skips
    that it is added to. In a guided call, only the prompt's half is kept. ``skip_levels`` are those
    of the UNet's config.
    """

    def __init__(self, skip_levels: Sequence[int], batch: int):
        self._batch = batch
        numbers = range(len(skip_levels))
        self._levels = {
            f"down_blocks.{level}": [n for n in numbers if skip_levels[n] == level]
            for level in sorted(set(skip_levels))
        }
        self._levels["mid_block"] = [len(skip_levels)]  # after all skips
        self._maps: dict[str, Tensor] = {}
        self._window: Window | None = None
        self._blended: dict[str, Blended] = {}

    def look_at(self, window: Window | None) -> None:
        """Say which window of the image comes next; with None, that all were seen."""
        self._window = window
        if window is None and not self._maps:
            self._maps = {name: map.mean().half() for name, map in self._blended.items()}
        self._blended = self._blended if window else {}

    def look(self, skips: Sequence[Tensor], added: Added) -> None:
        if self._maps:
            return
        for name, members in self._levels.items():
            under = torch.stack([self._size(skips[i]) for i in members]).sum(0)  # [B, h, w]
            over = [
                torch.zeros_like(under)
                if each is None
                else torch.stack([self._size(each[i]) for i in members]).sum(0)
                for each in added
            ]
            ratio = torch.stack(over, dim=1)[:, :, None] / under.clamp_min(1e-6)[:, None, None]
            ratio = ratio.clamp_max(LARGEST)
            if self._window is None:
                self._maps[name] = ratio.to(torch.float16)
            else:
                self._blended.setdefault(name, Blended()).add(self._window, ratio)

    def _size(self, values: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, h, w] float32: the mean magnitude of the prompt's half."""
        return values.detach()[: self._batch].float().abs().mean(1)

    def take(self) -> Mapping[str, np.ndarray]:
        """The maps of the step's first call, by level."""
        taken, self._maps = self._maps, {}
        return arrays(taken)
